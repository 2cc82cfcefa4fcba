"""`run_session` gives a session's answers the meaning that they have on a real connection."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ingest.connection.session import Emit, Fail, Session, Skip, To
from ingest.errors import BootstrapFailed, FrameHandlerFailed, PayloadRefused, SessionFailed
from ingest.testing import run_session
from settings.model import FeedSettings


class Subscribing(Session):
    awaits_ready = True

    def setup(self, symbol: str = "BTC/USD") -> None:
        self.symbol = symbol
        self.memory["connections"] = self.memory.get("connections", 0) + 1

    def on_upgrade(self) -> Sequence[str | bytes]:
        return [f"subscribe {self.symbol}"]

    def on_frame(self, payload: str | bytes) -> Emit | Skip | Fail:
        if payload == "ok":
            return Skip(ready=True, reply=["thanks"])
        if payload == "bad":
            return Fail("bad frame", retry_after=2.5)
        return Emit(payload, To({"n": 1}, actor="other"), reply=[b"seen"])

    def heartbeat(self) -> Sequence[str | bytes]:
        return ["ping"]


def feed(**values: Any) -> FeedSettings:
    return FeedSettings.model_validate({"name": "f", "url": "ws://h/", "actor": "a", **values})


def test_a_life_in_order():
    run = run_session(Subscribing, ["early", "ok", "late"], session_args={"symbol": "ETH/USD"})
    assert run.sent == ("subscribe ETH/USD", b"seen", "thanks", b"seen")
    assert run.payloads == ("early", {"n": 1}, "late", {"n": 1})
    assert isinstance(run.emitted[1], To)
    assert run.emitted[1].actor == "other"
    assert (run.ready, run.ended, run.read, run.heartbeat) == (True, None, 3, ("ping",))


def test_the_settings_of_the_feed_reach_the_session():
    run = run_session(Session, ["x", b"y"], feed=feed(subscribe=("hello",), heartbeat={"interval": 5, "text": "beat"}))
    assert (run.sent, run.emitted, run.heartbeat) == (("hello",), ("x", b"y"), ("beat",))
    assert run.session.headers() == {}
    assert run_session(Subscribing, feed=feed(session="feeds:Subscribing", session_args={"symbol": "X"})).sent == ("subscribe X",)


def test_ready_at_once_unless_awaited():
    assert run_session(Session).ready
    assert not run_session(Subscribing, ["early"]).ready


def test_fail_ends_the_connection_and_nothing_after_it_is_read():
    run = run_session(Subscribing, ["ok", "bad", "late"])
    assert run.ended == SessionFailed("bad frame", fatal=False, after=2.5)
    assert (run.read, run.emitted, run.heartbeat) == (2, (), ())


def test_memory_survives_and_attributes_do_not():
    first = run_session(Subscribing)
    second = run_session(Subscribing, memory=first.memory)
    assert second.memory == {"connections": 2}
    assert first.session is not second.session


def test_an_exception_in_on_frame_ends_the_connection():
    class Broken(Session):
        def on_frame(self, payload: str | bytes) -> Emit | Skip | Fail:
            return Emit(json.loads(payload))

    run = run_session(Broken, ['{"a":1}', "no json"])
    assert run.payloads == ({"a": 1},)
    assert isinstance(run.ended, FrameHandlerFailed)
    assert isinstance(run.ended.cause, json.JSONDecodeError)


@pytest.mark.parametrize("result", [None, "text", [Emit()], Emit])
def test_any_other_result_ends_the_connection(result: object):
    class Wrong(Session):
        def on_frame(self, payload: str | bytes) -> Any:
            return result

    assert isinstance(run_session(Wrong, ["x"]).ended, FrameHandlerFailed)


def test_a_payload_that_no_encoder_takes_ends_the_connection():
    class Emitting(Session):
        def on_frame(self, payload: str | bytes) -> Emit | Skip | Fail:
            return Emit("fine", To({"when": object()}))

    run = run_session(Emitting, ["x"])
    assert run.emitted == ("fine",)
    assert isinstance(run.ended, FrameHandlerFailed)
    assert isinstance(run.ended.cause, PayloadRefused)
    assert "object" in str(run.ended)


def test_a_bootstrap_that_fails_reads_nothing():
    class NoFrames(Session):
        def on_upgrade(self) -> Any:
            return "subscribe"  # a str is a sequence of characters, hardly what was meant

    for run in (
        run_session(Subscribing, ["ok"], session_args={"colour": "red"}),
        run_session(Session, ["ok"], session_args={"symbol": "X"}),
        run_session(NoFrames, ["ok"]),
    ):
        assert isinstance(run.ended, BootstrapFailed)
        assert (run.read, run.ready, run.sent) == (0, False, ())


def test_a_heartbeat_that_fails_ends_the_connection():
    class Beating(Session):
        def heartbeat(self) -> Sequence[str | bytes]:
            raise OSError("no")

    assert str(run_session(Beating, ["x"]).ended) == "the session failed: heartbeat raised OSError: no"


def test_the_payload_rules_of_the_feed_hold():
    run = run_session(Session, ['{"a":1}', "no json", "late"], feed=feed(payload="json"))
    assert run.emitted == ('{"a":1}',)
    assert isinstance(run.ended, FrameHandlerFailed)
    assert "no JSON" in str(run.ended)


class Consuming(Session):
    def on_frame(self, payload: str | bytes) -> Emit | Skip | Fail:
        if payload == "hello":
            return Emit(ack=["hello"])
        if payload == "object":
            return Emit("before", object(), ack=["never"])
        self.at = payload
        return Emit(payload, reply=["seen"], ack=[f"ack {payload!s}"]) if payload != "skipped" else Skip()

    def position(self) -> Any:
        return {"at": self.at}


def test_acks_and_the_position_of_the_last_emission():
    run = run_session(Consuming, ["hello", "a", "b", "skipped"])
    assert run.acked == ("hello", "ack a", "ack b")
    assert run.sent == ("seen", "seen")
    assert run.position == {"at": "b"}
    assert (run_session(Session, ["x"]).position, run_session(Consuming, ["hello"]).position) == (None, None)


def test_what_cannot_be_queued_is_neither_acknowledged_nor_a_position():
    run = run_session(Consuming, ["a", "object"])
    assert run.acked == ("ack a",)
    assert run.payloads == ("a", "before")
    assert run.position == {"at": "a"}


def test_a_position_that_fails_ends_the_connection():
    class Lost(Session):
        def position(self) -> Any:
            return object()

    run = run_session(Lost, ["x", "y"])
    assert isinstance(run.ended, FrameHandlerFailed)
    assert "position" in str(run.ended)
    assert run.payloads == ("x",)


def test_a_reply_to_what_cannot_be_queued_is_not_sent():
    class Acknowledging(Session):
        def on_frame(self, payload: str | bytes) -> Emit | Skip | Fail:
            return Emit(object(), reply=["got it"])

    assert run_session(Acknowledging, ["x"]).sent == ()
