"""A feed that an operator pauses closes in order, makes no connection, and tells of the time that it missed."""

import pytest

from ingest.connection.gaps import Before
from ingest.connection.states import State
from ingest.errors import ConnectionDropped, DialFailed, Paused, Stopped
from ingest.events import ConnectionFailed, ConnectionLost, FeedPaused, FeedResumed, GapFound, RetryScheduled, StateChanged
from tests.support.connections import FeedRig
from tests.unit.ingest.connection.test_feed_lead import Leading, gaps

PATIENT = {"initial": 4.0, "max": 4.0, "jitter": "none"}
REFUSED = DialFailed("tcp", "connection refused")


def at(rig, *acts):
    """Do each thing, in order, in the first wait that ends at or after its moment of the clock; return what was shown then."""
    wait, left, shown = rig.wakeup.wait, list(acts), []

    def waiting(timeout):
        woken = wait(timeout)
        shown.append(rig.status.shown(10.0))
        while left and rig.clock.now >= left[0][0]:
            left.pop(0)[1]()
        return woken

    rig.wakeup.wait = waiting
    return shown


def lifted(rig):
    return lambda: rig.hold.set(None)


def stopped(rig):
    return lambda: setattr(rig, "stop", True)


def pausing(rig_of, frames=("a",)):
    """Return a step of a script that brings frames, and with them the order to pause."""

    def step():
        rig_of().hold.set("ann")
        return list(frames)

    return step


def moves(rig):
    return [(event.old, event.new) for event in rig.of(StateChanged)]


def test_a_feed_that_is_paused_at_the_start_does_not_connect_before_it_is_resumed():
    rig = FeedRig([[["a"]]], retry=PATIENT)
    rig.hold.set("ann")
    shown = []

    def resume():
        shown.append((rig.status.shown(10.0), rig.status.paused, list(rig.dialled)))
        rig.hold.set(None)

    at(rig, (1005.0, resume))
    rig.feed_loop.run()
    assert shown == [("PAUSED", True, [])]
    assert rig.wakeup.waited[:5] == [None] * 5
    assert moves(rig)[:3] == [("IDLE", "PAUSED"), ("PAUSED", "IDLE"), ("IDLE", "CONNECTING")]
    assert [event.by for event in rig.of(FeedPaused)] == ["ann"]
    assert [event.seconds for event in rig.of(FeedResumed)] == [5.0]
    assert gaps(rig)[0] == ("paused", 1000, 1005, "p1", 0)
    assert rig.sink.payloads == ["a"]
    assert not rig.status.paused


def test_a_ready_connection_is_closed_in_order_and_what_was_read_is_kept():
    rig = FeedRig([[pausing(lambda: rig), ["never read"]], [["b"]]], retry=PATIENT)
    closed = []
    at(rig, (1010.0, lambda: closed.extend((rig.transport.closed, rig.status.missing_since))), (1010.0, lifted(rig)))
    rig.feed_loop.run()
    assert closed == [(1001, ""), 1000 * 10**6]
    assert rig.sink.payloads == ["a", "b"]
    assert rig.of(ConnectionLost)[0].reason == Paused()
    assert moves(rig)[3:5] == [("READY", "PAUSED"), ("PAUSED", "IDLE")]
    assert gaps(rig)[0] == ("paused", 1000, 1010, "p1", 1)
    assert rig.status.reconnects == len(rig.of(RetryScheduled))


def test_a_pause_while_it_backs_off_ends_the_wait_and_renews_the_budget():
    rig = FeedRig([[ConnectionDropped("x")], REFUSED, REFUSED, REFUSED], retry={**PATIENT, "multiplier": 2.0, "max": 64.0})
    wait = rig.wakeup.wait

    def cut(timeout):
        rig.wakeup.wait = wait
        rig.hold.set("ann")
        at(rig, (1003.0, lifted(rig)))
        return wait(0.5)

    rig.wakeup.wait = cut
    rig.feed_loop.run()
    assert [gap[0] for gap in gaps(rig)] == ["disconnected", "paused"]
    assert gaps(rig)[0][1:3] == (1000, 1000)
    assert rig.of(GapFound)[0].detail == "ConnectionDropped, paused"
    assert [event.delay for event in rig.of(RetryScheduled)] == [4.0, 4.0, 8.0, 16.0]
    assert ("BACKING_OFF", "PAUSED") in moves(rig)


def test_a_dial_that_a_pause_cuts_short_is_no_failure():
    def cut():
        rig.hold.set("ann")
        return Stopped()

    rig = FeedRig([None, [["a"]]], retry=PATIENT)
    dial = rig.feed_loop._dial
    endings = iter([cut])

    def dialling(url, headers):
        step = next(endings, None)
        if step is None:
            return dial(url, headers)
        raise step()

    rig.feed_loop._dial = dialling
    rig.endings = iter([[["a"]]])
    at(rig, (1002.0, lifted(rig)))
    rig.feed_loop.run()
    assert rig.of(ConnectionFailed) == []
    assert ("CONNECTING", "PAUSED") in moves(rig)
    assert rig.sink.payloads == ["a"]


def test_a_pause_that_is_lifted_before_anyone_looks_goes_on_at_once():
    def step():
        rig.hold.set("ann")
        return ["a"]

    rig = FeedRig([[step], [["b"]]], retry=PATIENT)
    publish = rig.status.publish
    rig.status.publish = lambda event: (publish(event), rig.hold.set(None) if isinstance(event, ConnectionLost) else None)
    rig.feed_loop.run()
    assert rig.sink.payloads == ["a", "b"]
    assert len(rig.of(FeedPaused)) == len(rig.of(FeedResumed)) == 1


def test_a_standby_rests_too_and_tells_of_no_gap_that_is_the_leaders():
    lead = Leading(0)
    rig = FeedRig([], lead=lead)
    rig.hold.set("ann")
    standby = []
    shown = at(rig, (1003.0, lambda: standby.append(rig.status.standby)), (1003.0, stopped(rig)))
    rig.feed_loop.run()
    assert (shown[-1], standby) == ("PAUSED", [True])
    assert rig.dialled == []
    assert gaps(rig) == []
    assert rig.status.state is State.STOPPED


def test_who_takes_over_while_it_is_paused_rests_and_tells_of_both_times():
    lead = Leading(0, [Before("failover", "p0", 9, None, 900 * 10**6)])
    rig = FeedRig([[["a"]]], lead=lead, retry=PATIENT)
    rig.hold.set("ann")
    at(rig, (1003.0, lambda: setattr(lead, "tenure", 2)), (1008.0, lifted(rig)))
    rig.feed_loop.run()
    assert gaps(rig)[:2] == [("failover", 900, 1003, "p0", 9), ("paused", 1003, 1008, "p0", 9)]
    assert lead.entered == [2]


def test_a_lead_that_is_lost_while_it_is_paused_ends_the_gap():
    lead = Leading(1)
    rig = FeedRig([[pausing(lambda: rig)]], lead=lead)
    at(rig, (1003.0, lambda: setattr(lead, "tenure", 0)), (1006.0, stopped(rig)))
    rig.feed_loop.run()
    assert gaps(rig) == [("paused", 1000, 1003, "p1", 1)]
    assert rig.of(GapFound)[0].detail == "fenced"
    assert len(rig.of(FeedPaused)) == 1
    assert rig.status.state is State.STOPPED


def test_a_stop_while_it_is_paused_ends_the_gap():
    rig = FeedRig([[pausing(lambda: rig)]])
    at(rig, (1003.0, stopped(rig)))
    rig.feed_loop.run()
    assert gaps(rig) == [("paused", 1000, 1003, "p1", 1)]
    assert rig.of(GapFound)[0].detail == "stopped"
    assert moves(rig)[-1] == ("PAUSED", "STOPPED")


def test_after_a_resume_it_may_have_to_wait_for_room_and_says_so():
    rig = FeedRig([[["a"]]], retry=PATIENT)
    rig.hold.set("ann")
    rig.sink.room = lambda: rig.clock.now >= 1010.0
    shown = at(rig, (1002.0, lifted(rig)))
    rig.feed_loop.run()
    assert shown[:4] == ["PAUSED", "PAUSED", "BLOCKED", "BLOCKED"]


def test_a_crash_while_it_is_paused_begins_anew_and_rests_again():
    rig = FeedRig([[["a"]]])
    rig.hold.set("ann")
    wait = rig.wakeup.wait

    def break_down(timeout):
        rig.wakeup.wait = wait
        raise RuntimeError("bug")

    rig.wakeup.wait = break_down
    with pytest.raises(RuntimeError):
        rig.feed_loop.run()
    rig.feed_loop.crashed()
    at(rig, (1002.0, stopped(rig)))
    rig.feed_loop.run()
    assert moves(rig) == [("IDLE", "PAUSED"), ("PAUSED", "IDLE"), ("IDLE", "PAUSED"), ("PAUSED", "STOPPED")]
    assert len(rig.of(FeedPaused)) == 1
