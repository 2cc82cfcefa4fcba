"""Percentiles over a window that moves."""

from __future__ import annotations

import random

import pytest

from workers.lag import LagWindow

SHARES = (0.5, 0.99)


def test_nothing_recorded_has_no_percentiles() -> None:
    assert LagWindow().percentiles(SHARES, 0.0) is None


@pytest.mark.parametrize("value", [0.02, 1.0, 17.0, 3_600_000.0])
def test_a_single_value_comes_back_within_two_and_a_half_percent(value: float) -> None:
    window = LagWindow()
    window.record(value, 0.0)

    assert window.percentiles(SHARES, 0.0) == pytest.approx([value, value], rel=0.025)


@pytest.mark.parametrize("value", [0.0, -5.0, 0.009])
def test_nothing_and_a_clock_that_is_behind_count_as_zero(value: float) -> None:
    window = LagWindow()
    window.record(value, 0.0)

    assert window.percentiles(SHARES, 0.0) == [0.0, 0.0]


def test_percentiles_are_those_of_the_sorted_values() -> None:
    window = LagWindow()
    chance = random.Random(7)
    values = [chance.lognormvariate(3, 2) for _ in range(1000)]
    for value in values:
        window.record(value, 5.0)

    found = window.percentiles((0.001, 0.5, 0.99, 1.0), 5.0)

    ranked = sorted(values)
    assert found == pytest.approx([ranked[0], ranked[499], ranked[989], ranked[999]], rel=0.025)


def test_the_window_forgets_what_is_older_than_its_seconds() -> None:
    window = LagWindow(seconds=10.0)
    window.record(1000.0, 0.5)
    window.record(10.0, 9.0)

    assert window.percentiles((1.0,), 10.0) == pytest.approx([1000.0], rel=0.025)
    assert window.percentiles((1.0,), 11.1) == pytest.approx([10.0], rel=0.025)
    assert window.percentiles((1.0,), 30.0) is None


def test_memory_stays_bounded_over_a_long_run() -> None:
    window = LagWindow(seconds=10.0)
    for second in range(1000):
        window.record(float(second), float(second))

    assert len(window._slots) <= 12
