"""Crashes are borne within a limit and never silent."""

from threading import Event

from ingest.service.threads import Intensity, run_restarting, start


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
