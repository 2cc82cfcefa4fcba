"""A wake-up is noticed once, whoever sets it and however often."""

from __future__ import annotations

import select
import threading

from ingest.wakeup import Wakeup


def is_set(wakeup: Wakeup) -> bool:
    return bool(select.select([wakeup.fileno()], [], [], 0)[0])


def test_set_makes_it_readable_until_it_is_cleared() -> None:
    wakeup = Wakeup()
    states = [is_set(wakeup)]
    wakeup.set()
    states.append(is_set(wakeup))
    wakeup.clear()
    states.append(is_set(wakeup))
    wakeup.set()
    states.append(is_set(wakeup))
    wakeup.close()

    assert states == [False, True, False, True]


def test_setting_it_very_often_neither_blocks_nor_outlasts_one_clear() -> None:
    wakeup = Wakeup()
    setters = [threading.Thread(target=lambda: [wakeup.set() for _ in range(10_000)]) for _ in range(4)]
    for setter in setters:
        setter.start()
    for setter in setters:
        setter.join(30)
    assert not any(setter.is_alive() for setter in setters)

    wakeup.clear()
    assert not is_set(wakeup)
    wakeup.close()


def test_clearing_what_is_not_set_does_nothing() -> None:
    wakeup = Wakeup()
    wakeup.clear()
    assert not is_set(wakeup)
    wakeup.close()


def test_a_wait_ends_when_it_is_set_and_clears_it() -> None:
    wakeup = Wakeup()
    assert not wakeup.wait(0.01)
    wakeup.set()
    assert wakeup.wait(None)
    assert not wakeup.wait(0.0)
    setter = threading.Timer(0.05, wakeup.set)
    setter.start()
    assert wakeup.wait(30.0)
    setter.join()
    wakeup.close()


def test_after_close_everything_is_a_no_op() -> None:
    wakeup = Wakeup()
    wakeup.set()
    wakeup.close()
    wakeup.set()
    wakeup.clear()
    wakeup.close()

    assert wakeup.fileno() == -1
