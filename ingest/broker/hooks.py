"""What the rest of a Dramatiq process has to say about our messages: its encoder and its enqueue middleware.

The rule: a process that sets neither pays for neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dramatiq
from dramatiq.broker import Broker
from dramatiq.encoder import JSONEncoder
from dramatiq.middleware import Middleware, MiddlewareError

from ingest.errors import EnqueueVetoed


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


def enqueue_hooks(broker: Broker) -> EnqueueHooks:
    """Return what has to be called around every message that is enqueued through this broker."""

    def before(data: bytes) -> bytes:
        message: dramatiq.Message[Any] = dramatiq.Message.decode(data)
        try:
            broker.emit_before("enqueue", message, None)
        except MiddlewareError as error:
            raise EnqueueVetoed(f"{type(error).__name__}: {error}"[:200]) from error
        return message.encode()

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
