"""The intervals in which frames may have been missed: one per outage, from what was heard last to ready."""

import pytest

from ingest.connection.gaps import Before, GapTracker, LastHeard
from ingest.errors import ClosedByServer, ConnectionDropped, DialFailed, Fenced, IdleTimedOut, Paused, SendTimedOut, SessionFailed

HEARD = LastHeard(1_000, "p1", 7, {"id": 70})
CUT = ConnectionDropped("reset")


@pytest.fixture
def gaps():
    return GapTracker("label", "trades")


def test_nothing_is_missed_before_the_first_connection(gaps):
    gaps.entered(None)
    assert gaps.readied(500) is None


def test_from_what_was_heard_last_to_ready(gaps):
    gaps.lost(CUT, HEARD, blocked=False)
    gap = gaps.readied(3_000)
    assert (gap.telemetry_id, gap.feed, gap.cause) == ("label", "trades", "disconnected")
    assert (gap.from_us, gap.to_us) == (1_000, 3_000)
    assert (gap.producer, gap.last_seq, gap.position, gap.count) == ("p1", 7, {"id": 70}, None)
    assert gap.detail == "ConnectionDropped"
    assert gaps.readied(4_000) is None


def test_one_gap_however_often_it_is_lost(gaps):
    gaps.lost(CUT, HEARD, blocked=False)
    gaps.lost(IdleTimedOut(1.0), LastHeard(2_000, "p1", 9, None), blocked=False)
    assert gaps.readied(3_000).from_us == 1_000


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (CUT, "blocked"),
        (ClosedByServer(1008, "slow"), "blocked"),
        (SendTimedOut(1.0), "blocked"),
        (SessionFailed("maintenance"), "disconnected"),
        (IdleTimedOut(1.0), "disconnected"),
    ],
)
def test_blocked_is_the_cause_where_the_server_ended_it(gaps, reason, cause):
    gaps.lost(reason, HEARD, blocked=True)
    assert gaps.readied(2_000).cause == cause


def test_a_clock_that_was_set_back_makes_no_negative_gap(gaps):
    gaps.lost(CUT, HEARD, blocked=False)
    gap = gaps.readied(400)
    assert (gap.from_us, gap.to_us) == (1_000, 1_000)


@pytest.mark.parametrize("how", ["stopped", "gave up", "fenced"])
def test_what_nobody_will_close_is_told_at_the_end(gaps, how):
    gaps.lost(CUT, HEARD, blocked=False)
    gap = gaps.ended(9_000, how)
    assert (gap.to_us, gap.detail) == (9_000, f"ConnectionDropped, {how}")
    assert gaps.ended(9_999, how) is None


def test_nothing_is_told_at_the_end_of_a_connected_feed(gaps):
    gaps.lost(CUT, HEARD, blocked=False)
    gaps.readied(2_000)
    assert gaps.ended(9_000, "stopped") is None


@pytest.mark.parametrize("cause", ["failover", "restart"])
def test_after_another_leader_the_gap_begins_where_that_one_was_heard_of_last(gaps, cause):
    gaps.entered(Before(cause, "p0", 41, "pos", 200))
    gap = gaps.readied(900)
    assert (gap.cause, gap.from_us, gap.to_us) == (cause, 200, 900)
    assert (gap.producer, gap.last_seq, gap.position, gap.detail) == ("p0", 41, "pos", "")


def test_attempts_that_fail_leave_the_gap_of_a_takeover_as_it_is(gaps):
    gaps.entered(Before("failover", "p0", 41, None, 200))
    gaps.lost(DialFailed("tcp", "refused"), HEARD, blocked=False)
    assert gaps.readied(900).cause == "failover"


def test_being_fenced_is_the_new_leaders_gap(gaps):
    gaps.lost(Fenced(), HEARD, blocked=False)
    assert gaps.ended(2_000, "stopped") is None
    gaps.entered(Before("failover", "p2", 3, None, 5_000))
    gap = gaps.readied(6_000)
    assert (gap.producer, gap.from_us) == ("p2", 5_000)
    assert gaps.readied(7_000) is None


def test_being_fenced_is_our_own_gap_where_nobody_led_meanwhile(gaps):
    gaps.lost(Fenced(), HEARD, blocked=False)
    gaps.entered(None)
    gap = gaps.readied(6_000)
    assert (gap.cause, gap.from_us, gap.producer, gap.detail) == ("disconnected", 1_000, "p1", "Fenced")


def test_a_pause_that_ends_a_connection_is_the_cause(gaps):
    gaps.lost(Paused(), HEARD, blocked=True)
    assert gaps.paused(LastHeard(1_500, "p1", 7, None)) is None  # it has begun before
    gap = gaps.readied(3_000)
    assert (gap.cause, gap.from_us, gap.to_us, gap.detail) == ("paused", 1_000, 3_000, "")


def test_a_pause_divides_the_gap_in_which_it_falls(gaps):
    gaps.lost(CUT, HEARD, blocked=False)
    before = gaps.paused(LastHeard(2_000, "p1", 9, None))
    assert (before.cause, before.from_us, before.to_us, before.detail) == (
        "disconnected",
        1_000,
        2_000,
        "ConnectionDropped, paused",
    )
    assert gaps.since_us == 2_000
    gap = gaps.readied(3_000)
    assert (gap.cause, gap.from_us, gap.to_us) == ("paused", 2_000, 3_000)
    assert (gap.producer, gap.last_seq, gap.position) == ("p1", 7, {"id": 70})  # nothing has come since


def test_a_pause_before_the_first_connection_is_a_gap(gaps):
    gaps.entered(None)
    assert gaps.paused(LastHeard(2_000, "p1", 0, None)) is None
    assert gaps.ended(5_000, "stopped").cause == "paused"
