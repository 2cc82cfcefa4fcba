"""What a session's answers mean: every result of a callback becomes a checked value or a typed failure.

The rule: pure, and cheap enough for one call per frame; what `interpret` lets through never fails later for its form.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ingest.connection.session import Emit, Fail, Outgoing, Session, Skip, To
from ingest.errors import FrameHandlerFailed, SessionFailed
from settings.fields import why_no_queue

Outcome = Emit | Skip | Fail

#: What the user's code may raise that ends a connection and nothing else.
USER_FAULTS = (Exception, SystemExit)

#: A position is kept with every gap record: so many characters of JSON at most.
LONGEST_POSITION = 16_384


def handle_frame(session: Session, payload: str | bytes) -> Outcome:
    """Give one message to the session; whatever it raises or wrongly returns is a `FrameHandlerFailed`."""
    try:
        result = session.on_frame(payload)
    except USER_FAULTS as error:
        raise FrameHandlerFailed(error, _raised("on_frame", error)) from error
    return interpret(result)


def heartbeat_frames(session: Session) -> tuple[Outgoing, ...]:
    """Return the session's heartbeat; whatever it raises or wrongly returns is a `FrameHandlerFailed`."""
    try:
        return checked_frames(session.heartbeat(), "heartbeat")
    except _WrongForm as error:
        raise FrameHandlerFailed(None, str(error)) from None
    except USER_FAULTS as error:
        raise FrameHandlerFailed(error, _raised("heartbeat", error)) from error


def position_text(session: Session) -> str | None:
    """Return the session's position as JSON text; whatever it raises or wrongly returns is a `FrameHandlerFailed`.

    As text, because the session may go on to change the very value that it returned.
    """
    try:
        position = session.position()
        text = None if position is None else json.dumps(position, allow_nan=False)
    except USER_FAULTS as error:
        raise FrameHandlerFailed(error, _raised("position", error)) from error
    if text is not None and len(text) > LONGEST_POSITION:
        raise FrameHandlerFailed(None, f"position is {len(text)} characters of JSON; at most {LONGEST_POSITION} are kept")
    return text


def interpret(result: object) -> Outcome:
    """Return what ``on_frame`` returned if it is of the right form, else raise `FrameHandlerFailed`."""
    try:
        if isinstance(result, Emit):
            if result.reply:
                checked_frames(result.reply, "reply")
            if result.ack:
                checked_frames(result.ack, "ack")
            for payload in result.payloads:
                if isinstance(payload, To):
                    _check_destination(payload)
            return result
        if isinstance(result, Skip):
            if result.reply:
                checked_frames(result.reply, "reply")
            return result
        if isinstance(result, Fail):
            _check_failure(result)
            return result
    except _WrongForm as error:
        raise FrameHandlerFailed(None, str(error)) from None
    raise FrameHandlerFailed(None, _wrong_result(result))


def checked_frames(frames: object, what: str) -> tuple[Outgoing, ...]:
    """Return ``frames`` as a tuple of ``str`` and ``bytes``; ``TypeError`` names ``what`` if they are anything else."""
    if isinstance(frames, (str, bytes)):
        raise _WrongForm(f"{what} is one {type(frames).__name__}; it must be a list of frames: [{frames[:20]!r}]")
    if not isinstance(frames, Sequence):
        raise _WrongForm(f"{what} is a {type(frames).__name__}; it must be a list of frames (str or bytes)")
    for frame in frames:
        if not isinstance(frame, (str, bytes)):
            raise _WrongForm(f"{what} contains a {type(frame).__name__}; a frame is str (text) or bytes (binary)")
    return tuple(frames)


def session_failed(fail: Fail) -> SessionFailed:
    """Return the reason for which a connection ends whose session returned ``fail``."""
    return SessionFailed(fail.reason, fatal=fail.fatal, after=fail.retry_after)


class _WrongForm(TypeError):
    """What was returned is of the wrong form: our finding, not an error of the user's code to be shown as a cause."""


def _check_destination(to: To) -> None:
    for name, value in (("actor", to.actor), ("queue", to.queue)):
        if value is not None and (not isinstance(value, str) or not value):
            raise _WrongForm(f"To({name}=…) is {value!r}; it must be a name or None")
    if to.queue is not None and (wrong := why_no_queue(to.queue)) is not None:
        raise _WrongForm(f"To(queue=…): {wrong}")
    if to.options is not None and not isinstance(to.options, Mapping):
        raise _WrongForm(f"To(options=…) is a {type(to.options).__name__}; it must be a mapping or None")
    if isinstance(to.payload, To):
        raise _WrongForm("a To within a To: one payload has one destination")


def _check_failure(fail: Fail) -> None:
    reason: Any = fail.reason  # the user's code is not necessarily type-checked
    if not isinstance(reason, str):
        raise _WrongForm(f"Fail(reason) is a {type(reason).__name__}; it must be a str")
    after: Any = fail.retry_after
    if after is not None and (not isinstance(after, (int, float)) or not math.isfinite(after) or after < 0):
        raise _WrongForm(f"Fail(retry_after=…) is {after!r}; it must be seconds, 0 or more, or None")


def _wrong_result(result: object) -> str:
    if inspect.iscoroutine(result):
        result.close()  # else Python warns much later, and of our code, that nobody awaited it
        return "on_frame is a coroutine function; it must be a plain one"
    return f"on_frame returned {type(result).__name__}; it must return Emit, Skip or Fail"


def _raised(where: str, error: BaseException) -> str:
    return f"{where} raised {type(error).__name__}: {error}"
