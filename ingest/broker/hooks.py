"""What the rest of a Dramatiq process has to say about our messages: its encoder and its enqueue middleware.

The rule: a process that sets neither pays for neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, Protocol, TypeVar

import dramatiq
from dramatiq.broker import Broker
from dramatiq.encoder import JSONEncoder
from dramatiq.middleware import Middleware, MiddlewareError

from ingest.errors import EnqueueVetoed

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MessageEncoder:
    """The process's Dramatiq encoder; ``is_json`` says that it is the default one."""

    encode: Callable[[dict[str, Any]], bytes]
    decode: Callable[[bytes], dict[str, Any]]
    is_json: bool


def message_encoder() -> MessageEncoder:
    """Return the encoder in force now, which is the one that the workers have to share."""
    encoder = dramatiq.get_encoder()
    return MessageEncoder(encoder.encode, encoder.decode, type(encoder) is JSONEncoder)


@dataclass(frozen=True, slots=True)
class EnqueueHooks:
    """The middleware of a broker around an enqueued message; None where no middleware takes part.

    ``before`` takes an encoded message and returns it as the middleware left it; `EnqueueVetoed` if one raised
    ``MiddlewareError``. ``after`` takes what ``before`` returned, once it is in its queue.
    """

    before: Callable[[bytes], bytes] | None
    after: Callable[[bytes], None] | None


class Wrap(Protocol):
    """Puts something around a hook, which is named by what users call it."""

    def __call__(self, where: str, hook: Callable[P, T], /) -> Callable[P, T]: ...


def wrapped(hooks: EnqueueHooks, wrap: Wrap) -> EnqueueHooks:
    """Return the hooks with ``wrap`` around each that there is."""
    before, after = hooks.before, hooks.after
    return EnqueueHooks(
        None if before is None else wrap("before_enqueue", before), None if after is None else wrap("after_enqueue", after)
    )


def wrapped_encoder(encoder: MessageEncoder, wrap: Wrap) -> MessageEncoder:
    """Return an encoder with ``wrap`` around what it does, if it is the user's own."""
    if encoder.is_json:
        return encoder
    return replace(encoder, encode=wrap("encoder", encoder.encode), decode=wrap("encoder", encoder.decode))


def enqueue_hooks(broker: Broker) -> EnqueueHooks:
    """Return what has to be called around every message that is enqueued through this broker."""

    def before(data: bytes) -> bytes:
        message: dramatiq.Message[Any] = dramatiq.Message.decode(data)
        try:
            broker.emit_before("enqueue", message, None)
        except MiddlewareError as error:
            raise EnqueueVetoed(f"{type(error).__name__}: {error}"[:200]) from error
        try:
            return message.encode()
        except Exception as error:  # an encoder may raise anything; a crash would take all that was read with it
            what = f"what middleware made of it cannot be encoded: {type(error).__name__}: {error}"
            raise EnqueueVetoed(what[:200]) from error

    def after(data: bytes) -> None:
        broker.emit_after("enqueue", dramatiq.Message.decode(data), None)

    return EnqueueHooks(
        before if any(_overrides(middleware, "before_enqueue") for middleware in broker.middleware) else None,
        after if any(_overrides(middleware, "after_enqueue") for middleware in broker.middleware) else None,
    )


def _overrides(middleware: Middleware, method: str) -> bool:
    if method in vars(middleware):
        return True
    return getattr(type(middleware), method, None) is not getattr(Middleware, method)
