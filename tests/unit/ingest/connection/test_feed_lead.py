"""A feed connects only while its process leads, and tells of every interval in which frames may have been missed."""

import pytest

from ingest.connection.frames import Close
from ingest.connection.gaps import Before
from ingest.connection.session import Emit, Session
from ingest.connection.states import State
from ingest.errors import ClosedByServer, ConnectionDropped, DialFailed, Fenced, HandshakeRejected
from ingest.events import ConnectionFailed, ConnectionLost, ConnectionReady, FeedGaveUp, GapFound, RetryScheduled
from tests.support.connections import AT_HAND, FeedRig

PATIENT = {"initial": 4.0, "max": 4.0, "jitter": "none"}
REFUSED = DialFailed("tcp", "connection refused")


class Leading:
    """A lead that changes as the test says; ``befores`` are what the next calls of `enter` return."""

    def __init__(self, tenure=1, befores=()):
        self.tenure = tenure
        self.producer = ""
        self.entered = []
        self._befores = list(befores)

    def enter(self):
        self.entered.append(self.tenure)
        self.producer = f"p{self.tenure}"
        return self._befores.pop(0) if self._befores else None


def at(rig, moment, act):
    """Do something in the first wait that ends at or after this moment of the clock."""
    wait = rig.wakeup.wait

    def waiting(timeout):
        woken = wait(timeout)
        if act and rig.clock.now >= moment:
            rig.wakeup.wait = wait
            act()
        return woken

    rig.wakeup.wait = waiting


def gaps(rig):
    return [(gap.cause, gap.from_us // 10**6, gap.to_us // 10**6, gap.producer, gap.last_seq) for gap in rig.of(GapFound)]


def test_it_stands_by_until_it_leads():
    lead = Leading(0)
    rig = FeedRig([["a", "b"]], lead=lead)
    shown = []

    def take():
        shown.append(rig.status.shown(10.0))
        lead.tenure = 3

    at(rig, 1005.0, take)
    rig.feed_loop.run()
    assert rig.wakeup.waited[:5] == [None] * 5
    assert shown == ["STANDBY"]
    assert lead.entered == [3]
    assert rig.of(ConnectionReady)[0].telemetry_id == "trades"
    assert rig.status.shown(10.0) == "STOPPED"


def test_a_stop_ends_the_standby():
    rig = FeedRig([], lead=Leading(0))
    at(rig, 1002.0, lambda: setattr(rig, "stop", True))
    rig.feed_loop.run()
    assert rig.status.state is State.STOPPED
    assert rig.dialled == []


def lose_at(lead, tenure, frames=("a",)):
    def step():
        lead.tenure = tenure
        return list(frames)

    return step


def test_a_connection_ends_with_its_tenure_and_what_came_before_is_kept():
    lead = Leading()
    rig = FeedRig([[lose_at(lead, 0), ["never read"]]], lead=lead)
    at(rig, 1001.0, lambda: setattr(rig, "stop", True))
    rig.feed_loop.run()
    assert [event.reason for event in rig.of(ConnectionLost)] == [Fenced()]
    assert rig.transport.closed == (1001, "")
    assert rig.sink.payloads == ["a"]
    assert [(event.old, event.new) for event in rig.events if type(event).__name__ == "StateChanged"][-2:] == [
        ("READY", "IDLE"),
        ("IDLE", "STOPPED"),
    ]
    assert rig.of(RetryScheduled) == []
    assert rig.status.reconnects == 0
    assert gaps(rig) == []  # whoever leads now tells that


def test_a_tenure_that_follows_at_once_is_entered_before_anything_is_read():
    lead = Leading()
    rig = FeedRig([[lose_at(lead, 2)], [["b"]]], lead=lead, retry=PATIENT)
    rig.feed_loop.run()
    assert lead.entered == [1, 2]
    assert rig.sink.payloads == ["a", "b"]
    assert rig.sink.begun == 3
    assert gaps(rig)[0] == ("disconnected", 1000, 1000, "p1", 1)  # nobody led meanwhile: the gap is ours


def test_a_dial_that_ends_after_the_tenure_sends_nothing():
    lead = Leading()
    rig = FeedRig([[]], lead=lead, subscribe=("sub",))
    dial = rig.feed_loop._dial

    def slow(url, headers):
        lead.tenure = 0
        return dial(url, headers)

    rig.feed_loop._dial = slow
    at(rig, 1001.0, lambda: setattr(rig, "stop", True))
    rig.feed_loop.run()
    assert rig.transport.sent == []
    assert rig.of(ConnectionFailed) == []
    assert rig.status.last_reason == Fenced()


def test_a_lost_tenure_ends_the_backoff_and_the_next_begins_with_a_new_budget():
    lead = Leading()
    rig = FeedRig([REFUSED, REFUSED, REFUSED], lead=lead, retry={**PATIENT, "multiplier": 2.0, "max": 64.0})
    steps = iter([lambda: None, lambda: setattr(lead, "tenure", 0), lambda: setattr(lead, "tenure", 2)])
    wait = rig.wakeup.wait

    def waiting(timeout):
        next(steps, lambda: None)()
        return wait(0.5 if timeout and timeout > 4.0 else timeout)

    rig.wakeup.wait = waiting
    rig.feed_loop.run()
    assert [event.delay for event in rig.of(RetryScheduled)] == [4.0, 8.0, 4.0]
    assert [event.attempt for event in rig.of(RetryScheduled)] == [1, 2, 1]
    assert lead.entered == [1, 2]


def test_the_gap_of_a_failover_begins_where_the_old_leader_was_heard_of():
    lead = Leading(befores=[Before("failover", "old", 41, {"id": 7}, 990_000_000)])
    rig = FeedRig([REFUSED, [["a"]]], lead=lead, retry=PATIENT)
    rig.feed_loop.run()
    assert gaps(rig)[0] == ("failover", 990, 1004, "old", 41)
    assert rig.of(GapFound)[0].position == {"id": 7}
    assert rig.status.position == {"id": 7}


def test_the_first_connection_of_all_misses_nothing():
    rig = FeedRig([REFUSED, []], retry=PATIENT)
    rig.feed_loop.run()
    assert gaps(rig)[:1] == [("disconnected", 1004, 1008, "p1", 0)]  # only what the lost connection left


class Numbered(Session):
    def on_frame(self, payload):
        self.at = payload
        return Emit(payload)

    def position(self):
        return self.at


def later(rig, seconds, frames):
    def step():
        rig.clock.now += seconds
        return frames

    return step


def test_one_gap_per_outage_from_what_came_last_to_ready():
    rig = FeedRig([], session=Numbered, retry=PATIENT)
    first = [later(rig, 5.0, ["x", "y"]), later(rig, 3.0, ConnectionDropped("cut"))]
    rig.endings = iter([first, REFUSED, REFUSED, [["z"]]])
    rig.feed_loop.run()
    [gap, *_] = rig.of(GapFound)
    assert gaps(rig)[0] == ("disconnected", 1005, 1020, "p1", 2)
    assert (gap.feed, gap.telemetry_id, gap.position, gap.detail) == ("trades", "trades", "y", "ConnectionDropped")


def test_a_connection_that_brought_nothing_counts_from_its_ready_time():
    rig = FeedRig([], retry=PATIENT)
    rig.endings = iter([[later(rig, 5.0, ConnectionDropped("cut"))], []])
    rig.feed_loop.run()
    assert gaps(rig)[0][:3] == ("disconnected", 1000, 1009)


def test_a_stop_while_disconnected_tells_the_gap_so_far():
    rig = FeedRig([[["a"], ConnectionDropped("cut")], REFUSED], retry=PATIENT)
    at(rig, 1008.0, lambda: setattr(rig, "stop", True))
    rig.feed_loop.run()
    assert gaps(rig) == [("disconnected", 1000, 1008, "p1", 1)]
    assert rig.of(GapFound)[0].detail == "ConnectionDropped, stopped"


def test_a_stop_while_connected_tells_none():
    rig = FeedRig([[["a"], lambda: setattr(rig, "stop", True) or ["b"]]], retry=PATIENT)
    rig.feed_loop.run()
    assert rig.sink.payloads == ["a", "b"]
    assert gaps(rig) == []


def test_giving_up_tells_the_gap_first():
    rig = FeedRig([[["a"], ConnectionDropped("cut")], HandshakeRejected(404)], retry=PATIENT)
    rig.feed_loop.run()
    assert gaps(rig) == [("disconnected", 1000, 1004, "p1", 1)]
    assert rig.of(GapFound)[0].detail == "ConnectionDropped, gave up"
    assert [type(event) for event in rig.events][-1] is FeedGaveUp


def test_being_fenced_while_disconnected_tells_the_gap_so_far():
    lead = Leading()
    rig = FeedRig([[["a"], ConnectionDropped("cut")]], lead=lead, retry=PATIENT)

    def fenced():
        lead.tenure = 0
        at(rig, 1005.0, lambda: setattr(rig, "stop", True))

    at(rig, 1004.0, fenced)
    rig.feed_loop.run()
    assert gaps(rig) == [("disconnected", 1000, 1004, "p1", 1)]
    assert rig.of(GapFound)[0].detail == "ConnectionDropped, fenced"


@pytest.mark.parametrize("end", [Close(1008, "too slow"), ConnectionDropped("reset")])
def test_a_cut_before_all_was_read_that_came_while_blocked_has_that_cause(end):
    last = end if isinstance(end, Exception) else [end]
    rig = FeedRig([[["a"], [], AT_HAND, ["b"], last], []], retry=PATIENT)
    rig.sink.room = lambda: rig.clock.now >= 1001.0 or not rig.sink.payloads
    rig.feed_loop.run()
    assert rig.sink.payloads == ["a", "b"]
    assert gaps(rig)[0][0] == "blocked"


def test_once_all_was_read_a_cut_is_no_longer_for_the_block():
    rig = FeedRig([[["a"], [], ["b"], ["c"], ClosedByServer(1001, "bye")], []], retry=PATIENT)
    rig.sink.room = lambda: rig.clock.now >= 1001.0 or not rig.sink.payloads
    rig.feed_loop.run()
    assert gaps(rig)[0][0] == "disconnected"


def noting_unread(rig, told, brings, stop=False):
    """Return a step of a script that notes since when nobody reads."""

    def step():
        told.append(rig().status.unread_since)
        rig().stop = stop
        return brings

    return step


def test_what_comes_is_unread_while_the_backlog_is_full_and_until_all_that_came_meanwhile_is_read():
    told = []
    script = [["a"], [], [], AT_HAND, *(noting_unread(lambda: rig, told, brings) for brings in (["b"], [], [], ["c"]))]
    rig = FeedRig([script], retry=PATIENT)
    rig.sink.room = lambda: rig.clock.now >= 1005.0 or not rig.sink.payloads
    rig.feed_loop.run()
    assert rig.sink.payloads == ["a", "b", "c"]
    assert told == [1000_000_000, 1000_000_000, 1000_000_000, None]


def test_what_comes_is_unread_while_a_session_takes_its_time_and_at_a_stop_before_which_there_was_no_room():
    told = []

    class Slow(Session):
        def on_frame(self, payload):
            told.append(rig.status.unread_since)
            rig.clock.now += 30.0
            return Emit(payload)

    script = [["a", "b"], noting_unread(lambda: rig, told, ["c"]), [], noting_unread(lambda: rig, told, [], stop=True)]
    rig = FeedRig([script], session=Slow, retry=PATIENT)
    rig.sink.room = lambda: rig.sink.payloads != ["a", "b", "c"]
    rig.feed_loop.run()
    assert rig.sink.payloads == ["a", "b", "c"]
    assert told == [1000_000_000, 1000_000_000, None, 1060_000_000, 1060_000_000]
    assert rig.status.unread_since == 1060_000_000
