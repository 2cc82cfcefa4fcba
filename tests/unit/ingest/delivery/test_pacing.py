"""Backoff and watermarks: pure arithmetic."""

from __future__ import annotations

from ingest.delivery.pacing import FIRST_BACKOFF, LONGEST_BACKOFF, STEADY_SECONDS, Backoff, FullQueue


def highest(low: float, high: float) -> float:
    return high


def lowest(low: float, high: float) -> float:
    return low


def test_backoff_doubles_from_first_to_longest() -> None:
    backoff = Backoff(highest)
    delays = [backoff.next() for _ in range(8)]
    assert delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert backoff.attempts == 8


def test_jitter_survives_the_cap() -> None:
    backoff = Backoff(lowest)
    for _ in range(200):
        last = backoff.next()
    assert last == LONGEST_BACKOFF / 2


def test_backoff_begins_again_after_success() -> None:
    backoff = Backoff(highest)
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert (backoff.attempts, backoff.next()) == (0, FIRST_BACKOFF)


def test_a_full_queue_goes_on_at_the_low_watermark_and_not_above() -> None:
    queue = FullQueue(depth=20, now=0.0)
    assert not queue.drained(19, 1.0, low=10, high=20)
    assert not queue.drained(11, 2.0, low=10, high=20)
    assert queue.drained(10, 3.0, low=10, high=20)


def test_a_queue_that_others_hold_steady_below_high_is_given_up_waiting_for() -> None:
    queue = FullQueue(depth=20, now=0.0)
    assert not queue.drained(15, 1.0, low=10, high=20)
    assert not queue.drained(15, 1.0 + STEADY_SECONDS - 0.01, low=10, high=20)
    assert queue.drained(16, 1.0 + STEADY_SECONDS, low=10, high=20)


def test_a_new_minimum_begins_the_waiting_anew() -> None:
    queue = FullQueue(depth=20, now=0.0)
    queue.drained(15, 1.0, low=10, high=20)
    assert not queue.drained(14, 5.9, low=10, high=20)
    assert not queue.drained(15, 5.9 + STEADY_SECONDS - 0.01, low=10, high=20)


def test_a_queue_at_its_high_watermark_is_waited_for_without_end() -> None:
    queue = FullQueue(depth=20, now=0.0)
    assert not queue.drained(20, 1000.0, low=10, high=20)
    assert not queue.drained(25, 2000.0, low=10, high=20)


def test_other_watermarks_count_at_the_next_look() -> None:
    queue = FullQueue(depth=20, now=0.0)
    assert not queue.drained(20, 1.0, low=10, high=20)
    assert queue.drained(20, 1.1, low=100, high=200)
