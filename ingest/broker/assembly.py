"""The list of middleware that both kinds of process give to their broker.

The rule: takes objects, not settings; what is foreign is named in the error when it is no middleware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dramatiq import Middleware
from dramatiq.middleware import default_middleware

_WORKER_METRICS = "dramatiq.middleware.prometheus.Prometheus"


class MiddlewareRefused(ValueError):
    """An extension gave something that is no Dramatiq middleware."""

    def __init__(self, reference: str, detail: str) -> None:
        super().__init__(reference, detail)
        self.reference = reference
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reference!r} {self.detail}"


def assemble_middleware(own: Iterable[Middleware], extensions: Mapping[str, object]) -> list[Middleware]:
    """Return Dramatiq's default middleware, then ``own``, then what the extensions give, in that order.

    An extension (reference -> object) is a middleware, a class of one, or a callable without arguments that returns one
    or an iterable of them. Whatever is of a default middleware's class, or derives from it, takes that one's
    place: ``Retries(max_retries=3)`` reconfigures, it does not retry twice.
    """
    assembled: list[Middleware] = [kind() for kind in default_middleware]
    assembled.extend(own)
    for reference, extension in extensions.items():
        for middleware in _resolve(reference, extension):
            _place(assembled, middleware)
    return assembled


def without_worker_metrics(middleware: Iterable[Middleware]) -> list[Middleware]:
    """Leave out Dramatiq's Prometheus middleware: outside a worker it has nothing to count in, and would see every message."""
    return [each for each in middleware if not is_worker_metrics(each)]


def is_worker_metrics(middleware: Middleware) -> bool:
    """Tell whether this is Dramatiq's Prometheus middleware; its module is not imported to find out, since that makes files."""
    return any(f"{kind.__module__}.{kind.__qualname__}" == _WORKER_METRICS for kind in type(middleware).__mro__)


def _resolve(reference: str, extension: object) -> list[Middleware]:
    made = extension if isinstance(extension, Middleware) else _call(reference, extension)
    members = [made] if isinstance(made, Middleware) else made
    if not isinstance(members, Iterable):
        raise MiddlewareRefused(reference, f"gave a {type(made).__name__}, which is no Dramatiq middleware")
    found = list(members)
    for member in found:
        if not isinstance(member, Middleware):
            raise MiddlewareRefused(reference, f"gave a list with a {type(member).__name__}, which is no Dramatiq middleware")
    return found


def _call(reference: str, extension: object) -> Any:
    if not callable(extension):
        raise MiddlewareRefused(
            reference, f"is a {type(extension).__name__}: neither a Dramatiq middleware nor a callable that returns one"
        )
    make: Callable[[], Any] = extension
    try:
        return make()
    except Exception as error:
        raise MiddlewareRefused(reference, f"failed when called without arguments: {type(error).__name__}: {error}") from error


def _place(assembled: list[Middleware], middleware: Middleware) -> None:
    for at, present in enumerate(assembled):
        if type(present) in default_middleware and isinstance(middleware, type(present)):
            assembled[at] = middleware
            return
    assembled.append(middleware)
