"""How many messages may be in hand."""

from __future__ import annotations

import pytest

from ingest.broker.window import MOST, Window


def test_it_grows_while_half_of_it_is_gone_within_milliseconds() -> None:
    window = Window(16)
    for step in range(10):
        window.fetched(full=True, now=step * 0.01)
    assert window.size == MOST


def test_it_shrinks_to_dramatiqs_number_when_work_takes_longer() -> None:
    window = Window(16)
    for step in range(5):
        window.fetched(full=True, now=step * 0.01)
    for step in range(5):
        window.fetched(full=True, now=10 + step * 0.2)
    assert window.size == 16


def test_it_stays_while_the_queue_has_less_than_it_was_asked_for() -> None:
    window = Window(16)
    for step in range(10):
        window.fetched(full=step % 2 == 0, now=step * 0.001)
    assert window.size == 16


def test_a_number_of_the_users_stays_as_it_is() -> None:
    window = Window(1, most=1)
    for step in range(10):
        window.fetched(full=True, now=step * 0.001)
    assert (window.size, window.refill_at) == (1, 0)


@pytest.mark.parametrize("least", range(1, 40))
def test_more_is_fetched_before_nothing_is_left(least: int) -> None:
    assert least // 2 <= Window(least).refill_at < least
