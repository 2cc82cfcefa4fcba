from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from ingest.tools.dev.stop import PARENT, StopWishes, parent_of


@pytest.fixture
def wishes() -> Iterator[StopWishes]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
    try:
        wishes = StopWishes(os.getppid())
        with wishes.installed():
            yield wishes
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nobody_wishes_anything_at_first(wishes: StopWishes) -> None:
    assert not wishes.asked
    assert not wishes.hurry.is_set()


def test_the_first_interrupt_asks_and_the_second_hurries(wishes: StopWishes) -> None:
    signal.raise_signal(signal.SIGINT)
    assert wishes.asked
    assert not wishes.hurry.is_set()
    signal.raise_signal(signal.SIGINT)
    assert wishes.hurry.is_set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_ask_and_never_hurry_because_make_sends_them_twice(wishes: StopWishes, number: signal.Signals) -> None:
    signal.raise_signal(number)
    signal.raise_signal(number)
    assert wishes.asked
    assert not wishes.hurry.is_set()


def test_an_interrupt_after_another_wish_is_still_the_first_interrupt(wishes: StopWishes) -> None:
    wishes.ask()
    signal.raise_signal(signal.SIGINT)
    assert not wishes.hurry.is_set()


def test_a_hangup_that_nohup_has_turned_off_stays_off() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        wishes = StopWishes(os.getppid())
        with wishes.installed():
            signal.raise_signal(signal.SIGHUP)
            assert not wishes.asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_given_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with StopWishes(os.getppid()).installed():
        assert signal.getsignal(signal.SIGINT) is not before[signal.SIGINT]
    assert {number: signal.getsignal(number) for number in before} == before


def test_another_parent_than_ours_is_a_wish_to_stop() -> None:
    assert StopWishes(os.getppid() + 1).asked


def test_the_parent_is_the_one_that_make_tells_and_children_do_not_inherit_it() -> None:
    environ = {PARENT: "4711", "X": "1"}
    assert parent_of(environ) == 4711
    assert environ == {"X": "1"}
    assert parent_of(environ) == os.getppid()
