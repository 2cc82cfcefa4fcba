"""Crashes are borne within a limit and never silent."""

from threading import Barrier, Event

import pytest

from ingest.service.threads import PARALLEL, Intensity, in_parallel, run_restarting, start


def test_the_limit_counts_only_recent_crashes():
    intensity = Intensity(limit=2, within=10.0)
    assert [intensity.bears(now) for now in (0.0, 1.0, 2.0, 20.0, 21.0, 22.0)] == [True, True, False, True, True, False]


def test_a_crashing_body_runs_again_until_it_ends():
    told, runs = [], []

    def body():
        runs.append(1)
        if len(runs) < 3:
            raise ValueError(len(runs))

    run_restarting(body, lambda cause, delay: told.append((str(cause), delay)), Event(), delay=0.0)
    assert len(runs) == 3
    assert told == [("1", 0.0), ("2", 0.0)]


def test_one_crash_too_many_is_the_last():
    told = []

    def body():
        raise ValueError("always")

    run_restarting(body, lambda cause, delay: told.append(delay), Event(), delay=0.0, intensity=Intensity(limit=3))
    assert told == [0.0, 0.0, 0.0, None]


def test_a_stop_ends_the_wait_after_a_crash():
    stop, runs = Event(), []
    stop.set()

    def body():
        runs.append(1)
        if len(runs) == 1:
            raise ValueError

    run_restarting(body, lambda cause, delay: None, stop, delay=3600.0)
    assert len(runs) == 2


def test_threads_are_daemons_with_a_name():
    release = Event()
    thread = start("feed-x", lambda: release.wait(10) and None)
    assert (thread.name, thread.daemon) == ("feed-x", True)
    release.set()
    thread.join(10)
    assert not thread.is_alive()


def test_what_waits_for_disks_is_done_a_few_at_a_time_and_answered_in_order():
    together = Barrier(PARALLEL, timeout=10)

    def act(item):
        together.wait()
        return item * 10

    assert in_parallel(act, range(2 * PARALLEL)) == [item * 10 for item in range(2 * PARALLEL)]


def test_in_the_meantime_something_else_is_done_again_and_again():
    done, calls = Event(), []

    def meanwhile():
        calls.append(1)
        if len(calls) == 3:
            done.set()
        return 0.001

    assert in_parallel(lambda item: done.wait(10), [1, 2], meanwhile) == [True, True]
    assert in_parallel(lambda item: item, [1], meanwhile) == [1]
    assert in_parallel(lambda item: item, [], meanwhile) == []


def test_one_that_fails_keeps_no_other_from_being_done():
    done = []

    def act(item):
        if item == 0:
            raise ValueError("for the test")
        done.append(item)

    with pytest.raises(ValueError, match="for the test"):
        in_parallel(act, range(5))
    assert sorted(done) == [1, 2, 3, 4]
