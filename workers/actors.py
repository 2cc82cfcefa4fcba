"""``@frame_actor``: an actor that takes one frame, also where a message carries many.

The rule: a frame that fails goes on as a message of its own, under Dramatiq's own rules for retries; the others are done. What is
not a message of ours with a list in it is called as any actor is.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar, overload

import dramatiq
from dramatiq.asyncio import async_to_sync
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import Retries

from settings.wire import FRAME_OPTION, message_id, split_message_id
from workers.middleware.frame_context import DEAD, Current, FrameContext, current_message

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger(__name__)


@overload
def frame_actor(fn: Callable[P, Awaitable[R]], /) -> dramatiq.Actor[P, R]: ...
@overload
def frame_actor(fn: Callable[P, R], /) -> dramatiq.Actor[P, R]: ...
@overload
def frame_actor(*, batches: bool = ..., **options: Any) -> Callable[[Callable[..., Any]], dramatiq.Actor[..., Any]]: ...


def frame_actor(fn: Callable[..., Any] | None = None, /, *, batches: bool = False, **options: Any) -> Any:
    """Declare an actor whose function takes one frame, whatever the feed's ``batch.size`` is.

    Takes what ``dramatiq.actor`` takes. With ``batches`` the function takes a list of frames instead, also of one, and what it
    raises is about all of them.
    """

    def decorate(fn: Callable[..., Any]) -> dramatiq.Actor[..., Any]:
        broker = options.get("broker") or dramatiq.get_broker()
        if not any(isinstance(middleware, FrameContext) for middleware in broker.middleware):
            broker.add_middleware(FrameContext())
        name = options.get("actor_name") or fn.__name__
        call = async_to_sync(fn) if iscoroutinefunction(fn) else fn
        frames = _Frames(name, broker, call)

        @wraps(fn)
        def process(payload: Any, *rest: Any, **named: Any) -> Any:
            return (frames.all if batches else frames.each)(payload, rest, named)

        return dramatiq.actor(process, **{**options, "broker": broker, "actor_name": name})

    return decorate if fn is None else decorate(fn)


class _Frames:
    """The frames of one actor's messages."""

    def __init__(self, actor: str, broker: dramatiq.Broker, call: Callable[..., Any]) -> None:
        self._actor = actor
        self._broker = broker
        self._call = call

    def all(self, payload: Any, rest: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call the function once, with a list."""
        current = self._enter()
        is_list = current is None or _carries_list(current.message.options)  # by hand, one knows what one gives
        return self._call(payload if is_list and isinstance(payload, list) else [payload], *rest, **named)

    def each(self, payload: Any, rest: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call the function with one frame after the other."""
        current = self._enter()
        if current is None or not (isinstance(payload, list) and _carries_list(current.message.options)):
            return self._call(payload, *rest, **named)
        if len(payload) == 1:
            current.index = 0
            return self._call(payload[0], *rest, **named)
        try:
            self._each(current, payload, rest, named)
        finally:
            current.index = None
        return None

    def _enter(self) -> Current | None:
        """Return the message that this call is for; None where the actor's function is called by hand."""
        current = current_message()
        if current is None or current.entered or current.message.actor_name != self._actor:
            return None
        current.entered = True
        return current

    def _each(self, current: Current, payloads: list[Any], rest: tuple[Any, ...], named: dict[str, Any]) -> None:
        call, at, begin = self._call, 0, 0
        while begin < len(payloads):
            try:
                for at in range(begin, len(payloads)):
                    current.index = at
                    call(payloads[at], *rest, **named)
                return
            except Exception as error:  # noqa: BLE001 - the failure is the frame's, whatever it is
                self._failed(current, at, error)
            except BaseException as error:  # noqa: BLE001 - the time limit, a shutdown: the others wait for another turn
                self._failed(current, at, error)
                self._resend(current, at + 1)
                return
            begin = at + 1

    def _failed(self, current: Current, at: int, error: BaseException) -> None:
        """Let one frame go on as a message of its own, as Dramatiq's own middleware decides; call while ``error`` is handled."""
        self._tell(current, at, error)
        single = dramatiq.MessageProxy(self._part(current.message, at, at + 1))
        for middleware in self._broker.middleware:
            if isinstance(middleware, Retries):
                middleware.after_process_message(self._broker, single, exception=error)
        if single.failed:
            marked: dict[str, Any] = {FRAME_OPTION: {**single.options[FRAME_OPTION], DEAD: True}}
            if "traceback" not in single.options:  # an exception that the actor ``throws``
                marked["traceback"] = traceback.format_exc(limit=30)
            self._broker.enqueue(single.copy(options=marked))
        current.failed += 1

    def _resend(self, current: Current, begin: int) -> None:
        """Let the frames that were not begun go on together, as if this message had ended before them."""
        end = len(current.message.args[0])
        if begin < end:
            self._broker.enqueue(self._part(current.message, begin, end))
            current.resent += end - begin

    def _part(self, message: dramatiq.MessageProxy, begin: int, end: int) -> dramatiq.Message[Any]:
        payloads, *rest = message.args
        option = dict(message.options[FRAME_OPTION])
        seq = option["seq"] = option["seq"] + begin
        option["count"] = end - begin
        try:
            name = message_id(split_message_id(message.message_id)[0], seq)
        except ValueError:  # sent again by somebody, under another id
            name = message.message_id
        made: dramatiq.Message[Any] = message.copy(
            args=(payloads[begin:end], *rest), message_id=name, options={FRAME_OPTION: option}
        )
        return made

    def _tell(self, current: Current, at: int, error: BaseException) -> None:
        """Log a failure as Dramatiq logs that of a message, but not what is in it."""
        message = current.message
        throws = message.options.get("throws") or self._broker.get_actor(self._actor).options.get("throws")
        if isinstance(error, Retry | RateLimitExceeded):
            return
        frame = current.frame()
        which = f"number {frame.seq} of feed {frame.feed}" if frame is not None else f"frame {at}"
        if throws and isinstance(error, throws):
            _logger.info("Failed to process %s with expected exception %s.", which, type(error).__name__)
        else:
            _logger.error("Failed to process %s with unhandled exception.", which, exc_info=True)


def _carries_list(options: Mapping[str, Any]) -> bool:
    """Tell whether a message's first argument is a list of frames: then, and only then, it counts them."""
    option = options.get(FRAME_OPTION)
    return isinstance(option, Mapping) and isinstance(option.get("count"), int) and isinstance(option.get("seq"), int)
