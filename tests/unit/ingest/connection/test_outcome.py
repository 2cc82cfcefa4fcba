"""What `interpret` lets through, and how it names what it does not."""

import json
from collections import deque
from typing import Any

import pytest

from ingest.connection.outcome import (
    LONGEST_POSITION,
    checked_frames,
    handle_frame,
    heartbeat_frames,
    interpret,
    position_text,
    session_failed,
)
from ingest.connection.session import Emit, Fail, Session, Skip, To
from ingest.errors import FrameHandlerFailed, SessionFailed


@pytest.mark.parametrize(
    "result",
    [
        Emit(),
        Emit("text", b"binary", {"a": 1}, None, [1]),
        Emit(To("x"), To({}, actor="a", queue="q", options={"max_retries": 1})),
        Emit("x", reply=["text", b"binary"], ready=True),
        Emit("x", reply=deque(["text"])),
        Emit("x", ack=["text", b"binary"]),
        Skip(),
        Skip(reply=("pong",), ready=True),
        Fail("reason"),
        Fail("reason", fatal=True, retry_after=0),
        Fail("reason", retry_after=1.5),
    ],
    ids=repr,
)
def test_good_results_pass_as_they_are(result: Emit | Skip | Fail):
    assert interpret(result) is result


def test_a_subclass_of_a_result_is_one():
    class Trade(Emit):
        pass

    trade = Trade("x")
    assert interpret(trade) is trade


@pytest.mark.parametrize(
    ("result", "detail"),
    [
        (None, "on_frame returned NoneType; it must return Emit, Skip or Fail"),
        ({"a": 1}, "on_frame returned dict"),
        (Emit, "on_frame returned type"),
        (Emit(reply="ping"), "reply is one str; it must be a list of frames: ['ping']"),  # type: ignore[arg-type]
        (Skip(reply=b"ping"), "reply is one bytes"),  # type: ignore[arg-type]
        (Skip(reply={"op": "pong"}), "reply is a dict"),  # type: ignore[arg-type]
        (Emit(reply=["fine", {"op": "pong"}]), "reply contains a dict; a frame is str (text) or bytes (binary)"),  # type: ignore[list-item]
        (Emit(ack="ok"), "ack is one str; it must be a list of frames: ['ok']"),  # type: ignore[arg-type]
        (Emit("x", ack=["fine", 7]), "ack contains a int"),  # type: ignore[list-item]
        (Emit(To("x", actor="")), "To(actor=…) is ''"),
        (Emit("fine", To("x", queue=7)), "To(queue=…) is 7"),  # type: ignore[arg-type]
        (Emit(To("x", queue="trades.DQ")), "To(queue=…): 'trades.DQ' is no queue name"),
        (Emit(To("x", queue="no name")), "To(queue=…): 'no name' is no queue name"),
        (Emit(To("x", options=["a"])), "To(options=…) is a list"),  # type: ignore[arg-type]
        (Emit(To(To("x"))), "a To within a To"),
        (Fail(ValueError("no")), "Fail(reason) is a ValueError; it must be a str"),  # type: ignore[arg-type]
        (Fail("x", retry_after=-1), "Fail(retry_after=…) is -1; it must be seconds"),
        (Fail("x", retry_after=float("nan")), "Fail(retry_after=…) is nan"),
        (Fail("x", retry_after="3"), "Fail(retry_after=…) is '3'"),  # type: ignore[arg-type]
    ],
)
def test_bad_results_are_named(result: object, detail: str):
    with pytest.raises(FrameHandlerFailed) as failure:
        interpret(result)
    assert detail in failure.value.detail
    assert failure.value.cause is None


def test_an_async_handler_is_told_so_and_leaves_no_warning():
    async def on_frame() -> Emit:
        return Emit()

    with pytest.raises(FrameHandlerFailed, match="coroutine function"):
        interpret(on_frame())


def test_what_on_frame_raises_is_the_cause():
    class Broken(Session):
        def on_frame(self, payload: str | bytes) -> Emit | Skip | Fail:
            raise KeyError("price")

    with pytest.raises(FrameHandlerFailed) as failure:
        handle_frame(Broken(), "x")
    assert isinstance(failure.value.cause, KeyError)
    assert failure.value.detail == "on_frame raised KeyError: 'price'"
    assert isinstance(handle_frame(Session(), "x"), Emit)


@pytest.mark.parametrize(
    ("beat", "detail"), [("ping", "heartbeat is one str"), (None, "heartbeat is a NoneType"), ([1], "contains a int")]
)
def test_a_heartbeat_of_the_wrong_form_is_named(beat: Any, detail: str):
    class Beating(Session):
        def heartbeat(self) -> Any:
            return beat

    with pytest.raises(FrameHandlerFailed, match=detail):
        heartbeat_frames(Beating())


def placed(position: Any) -> Session:
    class Placed(Session):
        def position(self) -> Any:
            return position

    return Placed()


@pytest.mark.parametrize("position", [0, "a", [1, {"b": None}], {"trade": 7, "book": [1.5, True]}])
def test_a_position_is_any_json_value(position: Any):
    text = position_text(placed(position))
    assert text is not None
    assert json.loads(text) == position


def test_no_position_is_none():
    assert position_text(Session()) is None
    assert position_text(placed(None)) is None


@pytest.mark.parametrize("position", [object(), float("nan"), {"a": b"bytes"}, {1, 2}, {(1, 2): 3}])
def test_a_position_that_is_no_json_is_the_sessions_failure(position: Any):
    with pytest.raises(FrameHandlerFailed, match="position raised"):
        position_text(placed(position))


def test_a_position_that_is_too_long_to_keep_says_so():
    with pytest.raises(FrameHandlerFailed, match=f"at most {LONGEST_POSITION}"):
        position_text(placed("x" * LONGEST_POSITION))


def test_frames_become_a_tuple():
    assert checked_frames(["a", b"b"], "on_upgrade") == ("a", b"b")
    assert checked_frames((), "on_upgrade") == ()
    with pytest.raises(TypeError, match="on_upgrade is a generator"):
        checked_frames((frame for frame in ["a"]), "on_upgrade")


def test_the_reason_of_a_fail():
    assert session_failed(Fail("maintenance", retry_after=0)) == SessionFailed("maintenance", fatal=False, after=0)
    assert session_failed(Fail("banned", fatal=True)).retry_after is None
