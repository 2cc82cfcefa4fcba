"""What `interpret` lets through, and how it names what it does not."""

from collections import deque
from typing import Any

import pytest

from ingest.connection.outcome import checked_frames, handle_frame, heartbeat_frames, interpret, session_failed
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
        (Emit(To("x", actor="")), "To(actor=…) is ''"),
        (Emit("fine", To("x", queue=7)), "To(queue=…) is 7"),  # type: ignore[arg-type]
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


def test_frames_become_a_tuple():
    assert checked_frames(["a", b"b"], "on_upgrade") == ("a", b"b")
    assert checked_frames((), "on_upgrade") == ()
    with pytest.raises(TypeError, match="on_upgrade is a generator"):
        checked_frames((frame for frame in ["a"]), "on_upgrade")


def test_the_reason_of_a_fail():
    assert session_failed(Fail("maintenance", retry_after=0)) == SessionFailed("maintenance", fatal=False, after=0)
    assert session_failed(Fail("banned", fatal=True)).retry_after is None
