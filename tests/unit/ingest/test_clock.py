"""The clocks: what is told is in microseconds since the epoch, and a budget is one over all its steps."""

from __future__ import annotations

import time

from ingest.clock import Deadline, wall_us
from tests.support.connections import ManualClock


def test_the_wall_clock_is_in_microseconds_since_the_epoch() -> None:
    before, told, after = time.time(), wall_us(), time.time()
    assert before - 0.001 <= told / 1e6 <= after + 0.001


def test_a_budget_shrinks_with_the_clock_and_never_below_nothing() -> None:
    clock = ManualClock()
    deadline = Deadline(10.0, clock)
    clock.now += 4.0
    assert (deadline.seconds, deadline.remaining(), deadline.expired) == (10.0, 6.0, False)
    clock.now += 6.0
    assert (deadline.remaining(), deadline.expired) == (0.0, True)
    clock.now += 1.0
    assert (deadline.remaining(), deadline.expired) == (0.0, True)
