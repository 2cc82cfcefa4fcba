"""Makes the frame behind the current message readable inside an actor.

The rule: ``frame`` never enters an actor's signature; a message that is not ours has none.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import dramatiq

from settings.wire import Frame

# A context variable, as Dramatiq's own CurrentMessage has it: one value a thread, and asynchronous actors see it too.
_FRAME: ContextVar[Frame | None] = ContextVar("frame", default=None)


def current_frame() -> Frame | None:
    """Return where the message that this actor is processing came from; None outside an actor and for foreign messages."""
    return _FRAME.get()


class FrameContext(dramatiq.Middleware):
    """Sets `current_frame` for the time of one message."""

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        _FRAME.set(Frame.of(message.options, message.message_id))

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        _FRAME.set(None)

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        _FRAME.set(None)
