"""Acks on a connection: they leave when the sink says that their payloads are safe, and not otherwise."""

from collections import deque

import pytest

from ingest.connection.frames import Close
from ingest.connection.session import Emit, Fail, Session, Skip
from ingest.errors import ConnectionDropped, FrameHandlerFailed, PayloadDropped, SessionFailed, Stopped
from tests.support.connections import Rig


class Acknowledging(Session):
    def on_frame(self, payload):
        if payload == "hello":
            return Emit(ack=["hello"])
        if payload == "quiet":
            return Emit("quiet")
        if payload == "object":
            return Emit("before", object(), reply=["got it"], ack=["never"])
        return Emit(payload, payload.upper(), ack=[f"ack {payload}"])


def settle(rig, seq, frames=()):
    """A step of the script: this much is safe now; then these frames come."""

    def step():
        rig.sink.settle(seq)
        return list(frames)

    return step


def run(*script, session=Acknowledging, **settings):
    rig = Rig(session, ping_interval=0, **settings)
    rig.transport._script = deque([step(rig) if callable(step) else step for step in script])
    return rig, rig.run()


def test_an_ack_leaves_when_all_payloads_of_its_frame_are_safe():
    seen = []

    def look(rig):
        return lambda: seen.append(list(rig.transport.sent)) or ["quiet"]

    run(["a"], look, lambda rig: settle(rig, 1, ["quiet"]), look, lambda rig: settle(rig, 2, ["quiet"]), look)
    assert seen == [[], [], ["ack a"]]


def test_acks_leave_in_order_and_as_many_as_are_due():
    rig, _ = run(["a", "quiet", "b", "c"], lambda rig: settle(rig, 5), [])
    assert rig.transport.sent == ["ack a", "ack b"]
    assert rig.sink.payloads == ["a", "A", "quiet", "b", "B", "c", "C"]


def test_an_ack_without_payload_waits_for_those_before_it_only():
    rig, _ = run(["hello"], ["a", "hello"], [])
    assert rig.transport.sent == ["hello"]
    rig, _ = run(["a", "hello"], lambda rig: settle(rig, 2), [])
    assert rig.transport.sent == ["ack a", "hello"]


def test_the_sink_is_asked_for_the_oldest_ack_only_and_for_none_at_the_end():
    asked = []
    rig = Rig(Acknowledging, script=[["a", "b"], ["quiet"], lambda: rig.sink.settle(2) or [], []], ping_interval=0)
    notify_at = rig.sink.notify_at
    rig.sink.notify_at = lambda seq: (asked.append(seq), notify_at(seq))
    rig.run()
    assert asked == [2, 4, None]


def test_a_session_without_acks_asks_the_sink_for_nothing():
    asked = []
    rig = Rig(script=[["a"], ["b"]])
    rig.sink.notify_at = asked.append
    rig.run()
    assert asked == [None]
    assert rig.sink.begun == 1


def test_acks_end_with_their_connection():
    rig, _ = run(["a"], ["quiet"])
    rig.transport._script = deque([settle(rig, 3), [], ["b"], settle(rig, 5), []])
    rig.status.state = rig.status.state.IDLE
    rig.run()
    assert rig.transport.sent == ["ack b"]
    assert rig.sink.begun == 2


def test_replies_do_not_wait_for_acks():
    class Both(Session):
        def on_frame(self, payload):
            return Emit(payload, reply=["reply"], ack=["ack"])

    rig, _ = run(["a"], lambda rig: settle(rig, 1), [], session=Both)
    assert rig.transport.sent == ["reply", "ack"]


def test_what_is_safe_is_acknowledged_before_a_stop_closes():
    def stop(rig):
        def step():
            rig.stop = True
            rig.sink.settle(2)
            return []

        return step

    rig, end = run(["a", "b"], stop)
    assert end.reason == Stopped()
    assert rig.transport.sent == ["ack a"]


def test_a_payload_that_is_refused_is_not_acknowledged_and_those_before_it_are_taken_once():
    rig, end = run(["a", "object", "after"], [])
    assert type(end.reason) is FrameHandlerFailed
    assert rig.sink.payloads == ["a", "A", "before"]
    assert rig.transport.sent == []


def test_a_close_in_the_same_read_forgets_the_acks():
    rig, _ = run(["a", Close(1000, "")])
    assert rig.transport.sent == []
    assert rig.sink.notify is None


def test_a_drop_ends_the_connection_once_only_acks_that_can_never_leave_wait():
    def drop(rig):
        return lambda: rig.sink.drop(3) or ["quiet"]

    rig, end = run(["a", "b", "c"], drop, lambda rig: settle(rig, 2), ["never read"])
    assert end.reason == PayloadDropped(2)
    assert rig.transport.sent == ["ack a"]
    assert "never read" not in rig.sink.payloads


def test_a_drop_is_nothing_to_a_connection_that_acknowledges_nothing():
    rig = Rig(script=[lambda: rig.sink.drop(1) or ["a"], ["b"]])
    assert rig.run().reason == ConnectionDropped("end of script")
    assert rig.sink.payloads == ["a", "b"]


def test_while_the_backlog_is_full_acks_still_leave_and_pings_do_not():
    rig = Rig(Acknowledging, script=[["a"], lambda: rig.sink.settle(2) or [], [], []], ping_interval=5.0, idle_timeout=60.0)
    rig.sink.room = lambda: not rig.sink.payloads
    rig.run()
    assert rig.transport.sent[0] == "ack a"
    assert [frame for frame in rig.transport.sent if not isinstance(frame, str)] == []
    assert rig.transport.reads[:3] == [True, False, False]


def test_so_many_acks_that_memory_matters_stop_the_reading():
    class Huge(Session):
        def on_frame(self, payload):
            return Emit(payload, ack=["x" * 20_000_000])

    rig = Rig(Huge, script=[["a"], ["b"], lambda: rig.sink.settle(1) or [], ["c"]], ping_interval=0)
    rig.run()
    assert rig.transport.reads[:4] == [True, True, False, True]
    assert rig.sink.payloads == ["a", "b", "c"]


@pytest.mark.parametrize("ack", ["one string", [1], {"a": 1}])
def test_acks_of_a_wrong_form_are_the_sessions_failure(ack):
    _, end = run(["a"], session=type("Wrong", (Session,), {"on_frame": lambda self, payload: Emit(payload, ack=ack)}))
    assert type(end.reason) is FrameHandlerFailed
    assert "ack" in str(end.reason)


class Numbered(Session):
    def setup(self):
        self.seen = []

    def on_frame(self, payload):
        if payload == "skip":
            return Skip()
        if payload == "fail":
            return Fail("maintenance")
        self.seen.append(payload)
        if payload == "bug":
            raise ValueError("a bug")
        return Emit(payload)

    def position(self):
        self.memory["asked"] = self.memory.get("asked", 0) + 1
        return self.seen


def test_the_position_is_asked_once_per_hand_over_and_is_a_copy():
    rig, _ = run(["a", "b", "skip"], ["skip"], ["c"], session=Numbered)
    assert rig.maker.memory["asked"] == 2
    assert rig.status.position == ["a", "b", "c"]


def test_the_position_survives_the_connection_and_what_says_nothing_leaves_it():
    rig, _ = run(["a"], session=Numbered)
    rig.status.state = rig.status.state.IDLE
    rig.maker = type(rig.maker)(rig.feed, type("Silent", (Session,), {"position": lambda self: None}))
    rig.transport._script = deque([["x"]])
    rig.run()
    assert rig.sink.payloads == ["a", "x"]
    assert rig.status.position == ["a"]


def test_an_orderly_end_in_the_same_read_is_part_of_the_position():
    rig, end = run(["a", "b", "fail"], session=Numbered)
    assert type(end.reason) is SessionFailed
    assert rig.status.position == ["a", "b"]
    rig, _ = run(["a", Close(1000, "")], session=Numbered)
    assert rig.status.position == ["a"]


def test_a_handler_that_failed_says_nothing_of_its_position():
    rig, _ = run(["a"], ["b", "bug"], session=Numbered)
    assert rig.sink.payloads == ["a", "b"]
    assert rig.status.position == ["a"]


def test_a_position_that_fails_ends_the_connection_and_loses_nothing():
    def position(self):
        raise KeyError("id")

    rig, end = run(["a"], ["never read"], session=type("Broken", (Session,), {"position": position}))
    assert type(end.reason) is FrameHandlerFailed
    assert rig.sink.payloads == ["a"]
    assert [(event.where, type(event.cause)) for event in rig.events if type(event).__name__ == "HandlerFailed"] == [
        ("position", KeyError)
    ]
    assert rig.status.running is None


def test_where_it_is_not_overridden_nobody_asks():
    rig = Rig(script=[["a"]])
    rig.run()
    assert not rig.maker.tells_position
    assert rig.status.position is None


def test_what_an_ack_or_a_reply_speaks_of_waits_for_no_more_payloads_and_nothing_does_after_the_end():
    class Answering(Session):
        def on_frame(self, payload):
            return Emit(payload, reply=["got it"]) if payload == "reply" else Emit(payload, ack=["ack"])

    rig, _ = run(["a", "b"], lambda rig: settle(rig, 2), [], session=Answering)
    assert rig.sink.flushed == [2, 2], "once after the read, not after each ack; and at the end"
    rig, _ = run(["reply"], [], session=Answering)
    assert rig.sink.flushed == [1, 1]
    rig, _ = run(["a"], ["b"], [], session=Session)
    assert rig.sink.flushed == [2], "without acks only at the end"
