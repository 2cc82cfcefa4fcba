"""Makes the frame behind the current message readable inside an actor.

The rule: ``frame`` never enters an actor's signature; a message that is not ours has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import dramatiq
from dramatiq.middleware import SkipMessage

from settings.wire import FRAME_OPTION, Frame

#: In the ``frame`` option: the frame has failed for good, and is on its way to the dead letters.
DEAD = "dead"


class Current:
    """The message that a thread is processing.

    Attributes:
      index: which of its frames is being processed; None: the message as a whole.
      entered: whether its actor has begun.
      failed, resent: how many of its frames have failed and go on alone; how many were not begun and go on together.
    """

    __slots__ = ("_whole", "entered", "failed", "index", "message", "resent")

    def __init__(self, message: dramatiq.MessageProxy) -> None:
        self.message = message
        self.index: int | None = None
        self.entered = False
        self.failed = self.resent = 0
        self._whole: Frame | None = None

    def frame(self) -> Frame | None:
        """Return where what is being processed came from; made only when somebody asks."""
        if self._whole is None:
            self._whole = Frame.of(self.message.options, self.message.message_id)
        if self._whole is None or self.index is None:
            return self._whole
        return replace(self._whole, seq=self._whole.seq + self.index, count=1)


# A context variable, as Dramatiq's own CurrentMessage has it: one value a thread, and asynchronous actors see it too.
_CURRENT: ContextVar[Current | None] = ContextVar("frame", default=None)


def current_frame() -> Frame | None:
    """Return where what this actor is processing came from; None outside an actor and for foreign messages.

    Of a message with many frames, a `workers.frame_actor` sees the one that it is called with; any other actor sees the first,
    with the ``count`` of all.
    """
    current = _CURRENT.get()
    return current.frame() if current is not None else None


def current_message() -> Current | None:
    """Return what this thread is processing, if anything."""
    return _CURRENT.get()


class FrameContext(dramatiq.Middleware):
    """Sets `current_frame` for the time of one message, and lets frames that have failed for good become dead letters."""

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        option = message.options.get(FRAME_OPTION)
        if isinstance(option, Mapping) and option.get(DEAD) is True:
            message.fail()
            raise SkipMessage("its frame has failed for good")
        _CURRENT.set(Current(message))

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        _CURRENT.set(None)

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        _CURRENT.set(None)
