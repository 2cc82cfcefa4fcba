"""Which hooks run: on their own threads, for as long as they run, whatever ends them."""

from __future__ import annotations

import threading

import pytest

from ingest.connection.calls import Call, HookCalls
from tests.support.connections import ManualClock


def test_a_hook_is_seen_while_it_runs_and_returns_what_it_would() -> None:
    calls = HookCalls(ManualClock(5.0))
    seen: list[object] = []

    def hook(data: bytes, *, more: bytes) -> bytes:
        seen.append((calls.running(), calls.on(threading.get_ident())))
        return data + more

    assert calls.noted("before_enqueue", hook)(b"a", more=b"b") == b"ab"
    assert seen == [([Call("before_enqueue", 5.0)], Call("before_enqueue", 5.0))]
    assert (calls.running(), calls.on(threading.get_ident()), calls.on(None)) == ([], None, None)


def test_one_that_raises_runs_no_more() -> None:
    calls = HookCalls(ManualClock())

    def hook() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        calls.noted("encoder", hook)()
    assert calls.running() == []


def test_each_thread_has_its_own_and_the_oldest_is_first() -> None:
    clock = ManualClock(1.0)
    calls = HookCalls(clock)
    entered, goes = threading.Barrier(2), threading.Event()

    def hook() -> None:
        entered.wait(20)
        assert goes.wait(20)

    threads = []
    for where in ("after_enqueue", "before_enqueue"):
        threads.append(threading.Thread(target=calls.noted(where, hook)))
        threads[-1].start()
        entered.wait(20)
        clock.now += 1.0
    assert calls.running() == [Call("after_enqueue", 1.0), Call("before_enqueue", 2.0)]
    assert [calls.on(thread.ident) for thread in threads] == calls.running()
    goes.set()
    for thread in threads:
        thread.join(20)
    assert calls.running() == []
