"""What a feed shows of itself: state by the table, overlays, and one event for every change."""

import pytest

from ingest.connection.states import State, Trigger, UnknownTransition
from ingest.connection.status import FeedStatus
from ingest.errors import ConnectionDropped, IdleTimedOut, Stopped
from ingest.events import (
    ConnectionFailed,
    ConnectionLost,
    ConnectionStatus,
    ConnectionTimedOut,
    FeedBlocked,
    FeedUnblocked,
    StateChanged,
)
from tests.support.connections import ManualClock


class Told(list):
    def of(self, kind):
        return [event for event in self if type(event) is kind]


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def status(clock, told):
    return FeedStatus("trades", told.append, clock)


def ready(status):
    for trigger in (Trigger.DIAL, Trigger.UPGRADED):
        status.move(trigger)
    status.readied("ws://x/")


def test_every_move_follows_the_table_and_is_told(status, told):
    status.move(Trigger.DIAL)
    assert status.state is State.CONNECTING
    assert [(event.old, event.new) for event in told] == [("IDLE", "CONNECTING")]
    with pytest.raises(UnknownTransition):
        status.move(Trigger.READIED)


def test_a_ready_connection_that_ends_was_lost_after_its_time(status, told, clock):
    ready(status)
    clock.now += 12.5
    end = status.end_of(ConnectionDropped("reset"))
    assert (end.was_ready, end.lasted) == (True, 12.5)
    assert [event.lasted for event in told.of(ConnectionLost)] == [12.5]
    assert [event.value for event in told.of(ConnectionStatus)] == [1, 0]
    assert told.of(ConnectionFailed) == []


def test_an_attempt_that_was_never_ready_failed(status, told):
    status.move(Trigger.DIAL)
    end = status.end_of(IdleTimedOut(3.0))
    assert (end.was_ready, end.lasted) == (False, 0.0)
    assert [event.reason for event in told.of(ConnectionFailed)] == [IdleTimedOut(3.0)]
    assert [event.which for event in told.of(ConnectionTimedOut)] == ["idle_timeout"]
    assert told.of(ConnectionStatus) == []


def test_a_stop_before_ready_is_no_failure(status, told):
    status.move(Trigger.DIAL)
    status.end_of(Stopped())
    assert told.of(ConnectionFailed) == []


def test_a_full_backlog_shows_and_is_told_once_with_its_length(status, told, clock):
    ready(status)
    assert status.block() == 1.0
    assert status.shown(10.0) == "BLOCKED"
    clock.now += 1.0
    assert status.block() is None
    assert status.block() is None
    assert len(told.of(FeedBlocked)) == 1
    clock.now += 3.0
    status.unblock()
    status.unblock()
    assert status.shown(10.0) == "READY"
    assert [event.seconds for event in told.of(FeedUnblocked)] == [4.0]


def test_a_slow_callback_shows_before_anything_else(status, clock):
    ready(status)
    status.block()
    with status.calling("on_frame"):
        clock.now += 9.0
        assert status.shown(10.0) == "BLOCKED"
        clock.now += 2.0
        assert status.shown(10.0) == "SLOW_CALLBACK"
        assert status.running == ("on_frame", 1000.0)
    assert status.running is None
    assert status.shown(10.0) == "BLOCKED"


def test_a_slow_hook_shows_whatever_thread_it_hangs_on(status, clock):
    def hook():
        clock.now += 9.0
        assert status.slow(10.0) == []
        with status.calling("on_frame"):
            clock.now += 2.0
            assert status.shown(10.0) == "SLOW_CALLBACK"
            assert [call.where for call in status.slow(10.0)] == ["after_enqueue"]
            clock.now += 10.0
            assert [call.where for call in status.slow(10.0)] == ["on_frame", "after_enqueue"]

    status.hooks.noted("after_enqueue", hook)()
    assert status.slow(0.0) == []


def test_giving_up_says_why(status, told):
    status.move(Trigger.DIAL)
    reason = ConnectionDropped("x")
    status.gave_up(reason)
    assert (status.state, status.last_reason) == (State.FAILED, reason)
    assert told.of(StateChanged)[-1].new == "FAILED"


def test_a_stop_and_go_of_full_load_is_not_told(status, told, clock):
    ready(status)
    before = len(told)
    for _ in range(100):
        status.block()
        clock.now += 0.03
        status.unblock()
    assert len(told) == before


def test_every_state_that_shows_says_since_when(clock, told):
    status = FeedStatus("trades", told.append, clock, wall=lambda: int(clock.now * 1_000_000))
    began = clock.now
    assert status.showing(10.0) == ("IDLE", began)
    clock.now += 1.0
    ready(status)
    clock.now += 1.0
    assert status.showing(10.0) == ("READY", began + 1.0)
    status.block()
    clock.now += 1.0
    status.block()
    assert status.showing(10.0) == ("BLOCKED", began + 2.0)
    status.standby = True
    clock.now += 1.0
    status.standby = True
    assert status.showing(10.0) == ("STANDBY", began + 3.0)
    with status.calling("on_frame"):
        clock.now += 11.0
        assert status.showing(10.0) == ("SLOW_CALLBACK", began + 4.0)
    status.standby = False
    status.unblock()
    assert status.showing(10.0) == ("READY", began + 1.0)


def test_the_time_without_a_connection_goes_over_all_attempts(clock, told):
    now = [1_000_000]
    status = FeedStatus("trades", told.append, clock, wall=lambda: now[0])
    assert status.down_since == 1.0
    ready(status)
    assert status.down_since is None
    now[0] = 5_000_000
    status.end_of(ConnectionDropped("reset"))
    for now[0] in (6_000_000, 7_000_000):
        status.move(Trigger.ENDED)
        status.move(Trigger.DIAL)
        status.end_of(ConnectionDropped("again"))
    assert status.down_since == 5.0
    status.move(Trigger.ENDED)
    status.pause("somebody")
    now[0] = 9_000_000
    status.resume()
    assert status.down_since == 9.0  # nobody wanted a connection before
    status.standby = True
    now[0] = 20_000_000
    status.standby = False
    assert status.down_since == 20.0


def test_reconnects_are_counted_for_ever_and_for_ten_minutes(status, clock):
    for clock.now in (0.0, 100.0, 650.0):
        status.note_reconnect(ConnectionDropped("reset"))
    assert (status.reconnects, status.reconnect_reasons, status.reconnects_lately) == (3, {"ConnectionDropped": 3}, 2)
