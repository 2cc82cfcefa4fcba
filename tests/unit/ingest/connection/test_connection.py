"""One connection: what is sent, what is delivered, and the one reason for which it ends."""

import pytest

from ingest.connection.frames import Close, Ping, Pong, Violation
from ingest.connection.session import Emit, Fail, Session, Skip
from ingest.connection.states import State
from ingest.errors import (
    BootstrapFailed,
    ClosedByServer,
    ConnectionDropped,
    DataTimedOut,
    FrameHandlerFailed,
    HeadersFailed,
    PingTimedOut,
    ProtocolViolated,
    ReadyTimedOut,
    SendTimedOut,
    SessionFailed,
    Stopped,
    UrlFailed,
)
from tests.support.connections import Rig


def test_frames_pass_through_in_order_and_the_end_is_told():
    rig = Rig(script=[["one", b"two"], ["three"]], subscribe=("sub",))
    end = rig.run()
    assert rig.sink.payloads == ["one", b"two", "three"]
    assert rig.transport.sent == ["sub"]
    assert (end.reason, end.was_ready) == (ConnectionDropped("end of script"), True)
    assert rig.status.frames == 3
    assert rig.kinds() == [
        *("StateChanged", "StateChanged", "ConnectionOpened", "BootstrapSent", "StateChanged"),
        *("ConnectionReady", "ConnectionStatus", "ConnectionLost", "ConnectionStatus"),
    ]


def test_frames_before_a_close_frame_are_delivered():
    rig = Rig(script=[["last", Close(1012, "restart")]])
    assert rig.run().reason == ClosedByServer(1012, "restart")
    assert rig.sink.payloads == ["last"]
    assert rig.transport.closed == (1012, "")


def test_frames_before_a_violation_are_delivered_and_the_code_is_said():
    rig = Rig(script=[["good", Violation(1007, "invalid UTF-8")]])
    assert rig.run().reason == ProtocolViolated(1007, "invalid UTF-8")
    assert rig.sink.payloads == ["good"]
    assert rig.transport.closed == (1007, "invalid UTF-8")


def test_a_ping_is_answered_with_its_payload():
    rig = Rig(script=[["a", Ping(b"42"), "b"]])
    rig.run()
    assert rig.transport.sent == [Pong(b"42")]
    assert rig.sink.payloads == ["a", "b"]


def test_pings_are_answered_in_order_and_before_the_session_is_asked():
    class Asking(Session):
        def on_frame(self, payload):
            assert rig.transport.sent == [Pong(b"1"), Pong(b"2")]
            return Emit(payload)

    rig = Rig(Asking, script=[["a", Ping(b"1"), "b", Ping(b"2")]])
    rig.run()
    assert rig.sink.payloads == ["a", "b"]


def test_of_a_flood_of_pings_only_the_newest_are_answered():
    rig = Rig(script=[[Ping(b"%d" % number) for number in range(10_000)]])
    rig.run()
    assert rig.transport.sent == [Pong(b"%d" % number) for number in range(9_984, 10_000)]


def test_a_close_without_code_is_answered_with_a_legal_one():
    rig = Rig(script=[[Close(1005, "")]])
    rig.run()
    assert rig.transport.closed == (1000, "")


class Confirmed(Session):
    awaits_ready = True

    def on_frame(self, payload):
        if payload == "ack":
            return Skip(ready=True)
        return Emit(payload.upper(), reply=[f"got {payload}"])


def test_a_session_that_awaits_confirmation_is_ready_when_it_says_so():
    rig = Rig(Confirmed, script=[["early"], ["ack", "late"]])
    end = rig.run()
    assert end.was_ready
    assert rig.sink.payloads == ["EARLY", "LATE"]
    assert rig.transport.sent == ["got early", "got late"]
    assert rig.kinds().count("ConnectionReady") == 1


def test_without_confirmation_it_ends_in_time():
    rig = Rig(Confirmed, script=[["x"], [], []], ready_timeout=3.0)
    end = rig.run()
    assert end.reason == ReadyTimedOut(3.0)
    assert not end.was_ready
    assert "ConnectionFailed" in rig.kinds()
    assert [event.which for event in rig.events if type(event).__name__ == "ConnectionTimedOut"] == ["ready_timeout"]


def test_what_is_replied_to_is_delivered_first():
    class Replying(Session):
        def on_frame(self, payload):
            order.append(list(rig.sink.payloads))
            return Emit(payload, reply=["ok"])

    order: list[object] = []
    rig = Rig(Replying, script=[["a", "b"]])
    rig.run()
    assert order == [[], ["a"]]


class Choosy(Session):
    def setup(self):
        self.seen = 0

    def on_frame(self, payload):
        self.seen += 1
        if payload == "bad":
            raise ValueError("no such symbol")
        if payload == "none":
            return None
        if payload == "object":
            return Emit("before", object())
        if payload == "fail":
            return Fail("maintenance", retry_after=5)
        return Emit(self.seen)


@pytest.mark.parametrize(
    ("frame", "reason", "text"),
    [
        ("bad", FrameHandlerFailed, "ValueError: no such symbol"),
        ("none", FrameHandlerFailed, "on_frame returned NoneType"),
        ("object", FrameHandlerFailed, "type object"),
        ("fail", SessionFailed, "maintenance"),
    ],
)
def test_a_failing_handler_ends_the_connection_and_loses_nothing_before_it(frame, reason, text):
    rig = Rig(Choosy, script=[["a", "b", frame, "after"]])
    end = rig.run()
    assert type(end.reason) is reason
    assert text in str(end.reason)
    assert rig.sink.payloads == ([1, 2, "before"] if frame == "object" else [1, 2])


def test_what_a_handler_raised_is_told_with_its_cause():
    rig = Rig(Choosy, script=[["bad"]])
    rig.run()
    told = [event for event in rig.events if type(event).__name__ == "HandlerFailed"]
    assert [(event.where, type(event.cause)) for event in told] == [("on_frame", ValueError)]


def broken(name):
    def method(self, **arguments):
        raise RuntimeError(f"no {name}")

    return type("Broken", (Session,), {name: method})


@pytest.mark.parametrize(
    ("callback", "reason"),
    [("setup", BootstrapFailed), ("url", UrlFailed), ("headers", HeadersFailed), ("on_upgrade", BootstrapFailed)],
)
def test_every_callback_fails_with_its_own_reason(callback, reason):
    rig = Rig(broken(callback))
    end = rig.run()
    assert type(end.reason) is reason
    assert f"no {callback}" in str(end.reason)
    assert not end.was_ready


def test_a_callback_that_exits_ends_only_its_connection():
    class Leaving(Session):
        def headers(self):
            raise SystemExit(3)

    assert type(Rig(Leaving).run().reason) is HeadersFailed


@pytest.mark.parametrize("frames", ["one string", 7, [1], None])
def test_bootstrap_frames_of_a_wrong_form_are_refused(frames):
    rig = Rig(type("Wrong", (Session,), {"on_upgrade": lambda self: frames}))
    assert type(rig.run().reason) is BootstrapFailed


def test_a_bootstrap_that_cannot_be_sent_is_a_bootstrap_failure():
    rig = Rig(subscribe=("x",))
    rig.transport.broken = True
    end = rig.run()
    assert type(end.reason) is BootstrapFailed
    assert "broken pipe" in str(end.reason)


def test_state_is_new_on_every_connection_and_memory_survives():
    class Counting(Session):
        def setup(self):
            self.here = 0

        def on_frame(self, payload):
            self.here += 1
            self.memory["all"] = self.memory.get("all", 0) + 1
            return Emit([self.here, self.memory["all"]])

    rig = Rig(Counting, script=[["a", "b"], ConnectionDropped("x"), ["c"]])
    rig.run()
    rig.status.state = State.IDLE
    rig.run()
    assert rig.sink.payloads == [[1, 1], [2, 2], [1, 3]]


def test_pings_leave_on_their_interval_and_their_silence_is_noticed():
    rig = Rig(script=[[], []], ping_interval=5.0, ping_timeout=2.0)
    end = rig.run()
    assert [type(frame) for frame in rig.transport.sent] == [Ping]
    assert end.reason == PingTimedOut(2.0)
    assert end.lasted == 7.0


def test_an_answered_ping_keeps_the_connection():
    def answer():
        return [Pong(rig.transport.sent[-1].payload)]

    rig = Rig(script=[[], answer, [], answer], ping_interval=5.0, ping_timeout=2.0)
    assert rig.run().reason == ConnectionDropped("end of script")
    assert len(rig.transport.sent) == 2
    assert rig.status.round_trip == 0.0


def test_pongs_are_no_data():
    def pong():
        rig.clock.now += 1.0
        return [Pong(b"unsolicited")]

    rig = Rig(script=[pong] * 10, data_timeout=3.0, ping_interval=0)
    assert rig.run().reason == DataTimedOut(3.0)


def test_heartbeats_are_sent_as_text():
    rig = Rig(script=[[], ["x"], []], heartbeat={"interval": 4.0, "text": '{"op":"ping"}'}, ping_interval=0)
    rig.run()
    assert rig.transport.sent == ['{"op":"ping"}', '{"op":"ping"}']


def test_a_stop_closes_with_1001():
    rig = Rig(script=[["a"]])
    original = rig.sink.deliver

    def deliver(payloads, received_us):
        original(payloads, received_us)
        rig.stop = True

    rig.sink.deliver = deliver
    assert rig.run().reason == Stopped()
    assert rig.transport.closed == (1001, "")


def test_a_full_backlog_stops_the_reading_and_the_deadlines_that_need_it():
    def room():
        return rig.clock.now >= 1100.0

    rig = Rig(script=[[], [], [], ["late"]], idle_timeout=10.0, ping_interval=0, heartbeat={"interval": 50.0, "text": "hb"})
    rig.sink.room = room
    end = rig.run()
    assert rig.transport.reads == [False, False, False, True, True, True, True]  # two looks for what came meanwhile
    assert rig.transport.sent == ["hb", "hb"]
    assert rig.sink.payloads == ["late"]
    assert end.reason == ConnectionDropped("end of script")
    assert [kind for kind in rig.kinds() if "lock" in kind] == ["FeedBlocked", "FeedUnblocked"]


def test_functions_stand_in_for_a_class():
    rig = Rig()
    rig.maker = type(rig.maker)(rig.feed, headers_function=lambda: {"X-Key": "1"}, subscribe_function=lambda: ["a", b"b"])
    rig.run()
    assert rig.dialled == [("ws://127.0.0.1:1/x", {"X-Key": "1"})]
    assert rig.transport.sent == ["a", b"b"]


def test_a_reply_that_no_frame_can_carry_is_the_sessions_failure():
    class Surrogate(Session):
        def on_frame(self, payload):
            return Emit(payload, reply=["\ud800"])

    def refuse(frames, timeout):
        raise ValueError("surrogates not allowed")

    rig = Rig(Surrogate, script=[["a"]])
    rig.transport.send = refuse
    end = rig.run()
    assert type(end.reason) is FrameHandlerFailed
    assert rig.sink.payloads == ["a"]


class Chatty(Session):
    def on_frame(self, payload):
        return Emit(payload, reply=["ok"])


def test_a_connection_that_takes_no_reply_still_gives_all_that_it_brought():
    def breaking():
        rig.transport.broken = True
        return ["a", Ping(b"1"), "b", "c"]

    rig = Rig(Chatty, script=[breaking, ["d"], []])
    end = rig.run()
    assert type(end.reason) is ConnectionDropped
    assert rig.sink.payloads == ["a", "b", "c", "d"]
    assert rig.transport.sent == []


def test_a_ping_that_cannot_leave_costs_nothing_that_came():
    def late():
        assert rig.transport.broken
        return ["late"]

    def breaking():
        rig.transport.broken = True
        return []

    rig = Rig(script=[breaking, late, []], ping_interval=5.0)
    assert type(rig.run().reason) is ConnectionDropped
    assert rig.sink.payloads == ["late"]


def test_a_server_that_does_not_read_is_left_though_it_sends_on():
    def refuse(frames, timeout):
        raise SendTimedOut(timeout)

    rig = Rig(Chatty, script=[["a", "b"], ["never read"]])
    rig.transport.send = refuse
    assert type(rig.run().reason) is SendTimedOut
    assert rig.sink.payloads == ["a", "b"]


def test_bytes_are_counted_over_all_connections_with_what_came_with_no_frame():
    rig = Rig(script=[["x"], [], ConnectionDropped("gone")])
    rig.status.bytes = 1000

    def receive(timeout, *, read=True):
        rig.transport.bytes_received += 7
        return type(rig.transport).receive(rig.transport, timeout, read=read)

    rig.transport.receive = receive
    rig.run()
    assert rig.status.bytes == 1000 + rig.transport.bytes_received > 1014
