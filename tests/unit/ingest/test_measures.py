"""Histograms and pulses."""

import pytest

from ingest.measures import SECONDS, SIZES, Histogram, Pulse
from tests.support.connections import ManualClock


def test_a_value_falls_under_the_smallest_bound_that_is_not_below_it():
    histogram = Histogram((1, 10, 100))
    for value in (0, 1, 1.5, 10, 11, 100, 101, 5000):
        histogram.add(value)
    assert histogram.counts == [2, 2, 2, 2]
    assert histogram.sum == sum((0, 1, 1.5, 10, 11, 100, 101, 5000))


def test_what_is_read_does_not_change_with_what_comes_later():
    histogram = Histogram((1,))
    before = histogram.counts
    histogram.add(1)
    assert (before, histogram.counts) == ([0, 0], [1, 0])


@pytest.mark.parametrize("bounds", [SECONDS, SIZES])
def test_bounds_rise(bounds):
    assert list(bounds) == sorted(set(bounds))


def test_a_loop_is_silent_from_its_last_turn_on_but_not_while_it_rests():
    clock = ManualClock()
    pulse = Pulse(clock)
    assert pulse.silent_for == 0.0
    pulse.beat()
    clock.now += 7.0
    assert pulse.silent_for == 7.0
    pulse.rest()
    clock.now += 100.0
    assert pulse.silent_for == 0.0
    pulse.beat()
    assert pulse.silent_for == 0.0
