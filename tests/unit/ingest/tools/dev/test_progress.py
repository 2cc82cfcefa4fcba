from __future__ import annotations

from typing import Any

import pytest

from ingest.tools.dev.progress import Progress, Totals

NOW = 1_000_000.0


def supervisor(at: float, *, identity: str = "h:1:a", final: bool = False, depth: int = 0, **numbers: Any) -> dict[str, Any]:
    feed = {
        "state": "READY",
        "frames": 0,
        "emitted": 0,
        "enqueued": 0,
        "dropped": 0,
        "lost": 0,
        "reconnects": 0,
        "queue": "q",
        "backlog": 0,
        "last_reason": None,
    }
    queues = {"q": {"depth": depth, "dead": 2}}
    head = {"format": 1, "kind": "supervisor", "id": identity, "at": at, "final": final}
    return {**head, "feeds": {"trades": feed | numbers}, "queues": queues}


def worker(at: float, processed: int, *, identity: str = "h:2:b", final: bool = False, p50: float = 1.0) -> dict[str, Any]:
    feed = {"processed": processed, "failed": 0, "lag_ms": {"p50": p50, "p99": 10 * p50}}
    return {"format": 1, "kind": "worker", "id": identity, "at": at, "final": final, "feeds": {"trades": feed}}


def test_a_feed_is_there_before_anything_is_known_of_it() -> None:
    [feed] = Progress(["trades"]).feeds(NOW)
    assert (feed.name, feed.state, feed.frames, feed.lag_p50) == ("trades", "-", 0, None)


def test_a_rate_is_the_difference_of_two_snapshots_by_their_own_clock() -> None:
    progress = Progress()
    progress.take([supervisor(NOW - 3, frames=100), worker(NOW - 3, 50)])
    progress.take([supervisor(NOW - 1, frames=500), worker(NOW - 1, 150)])
    [feed] = progress.feeds(NOW)
    assert (feed.frames_rate, feed.processed_rate) == (200.0, 50.0)


def test_one_snapshot_alone_gives_no_rate_and_a_repeated_one_changes_nothing() -> None:
    progress = Progress()
    progress.take([supervisor(NOW - 3, frames=100)])
    assert progress.feeds(NOW)[0].frames_rate == 0
    progress.take([supervisor(NOW - 1, frames=300)])
    for _ in range(3):
        progress.take([supervisor(NOW - 1, frames=300)])
    assert progress.feeds(NOW)[0].frames_rate == 100


def test_an_older_snapshot_that_comes_late_is_ignored() -> None:
    progress = Progress()
    progress.take([supervisor(NOW, frames=300)])
    progress.take([supervisor(NOW - 1, frames=100)])
    assert progress.totals().frames == 300


def test_workers_are_summed_and_the_slowest_lag_counts() -> None:
    progress = Progress()
    progress.take([worker(NOW - 2, 0, identity="h:2:b"), worker(NOW - 2, 0, identity="h:3:c")])
    progress.take([worker(NOW, 20, identity="h:2:b", p50=2.0), worker(NOW, 40, identity="h:3:c", p50=5.0)])
    [feed] = progress.feeds(NOW)
    assert (feed.processed, feed.processed_rate) == (60, 30.0)
    assert (feed.lag_p50, feed.lag_p99) == (5.0, 50.0)


@pytest.mark.parametrize("final", [True, False], ids=["final", "silent"])
def test_a_process_that_ended_or_fell_silent_keeps_its_counts_and_has_no_rate(final: bool) -> None:
    progress = Progress()
    progress.take([worker(NOW - 30, 10)])
    progress.take([worker(NOW - 29, 30, final=final)])
    [feed] = progress.feeds(NOW if not final else NOW - 29)
    assert (feed.processed, feed.processed_rate, feed.lag_p50) == (30, 0.0, None)


def test_a_snapshot_that_has_expired_in_redis_still_counts() -> None:
    progress = Progress()
    progress.take([worker(NOW, 10, identity="h:2:b")])
    progress.take([worker(NOW + 60, 5, identity="h:3:c")])
    assert progress.totals().processed == 15


def test_the_state_and_the_queue_are_those_of_the_newest_supervisor() -> None:
    progress = Progress()
    progress.take([supervisor(NOW, identity="h:1:a", state="READY", depth=1)])
    progress.take([supervisor(NOW + 1, identity="h:9:z", state="FAILED", depth=7, last_reason="403")])
    [feed] = progress.feeds(NOW + 1)
    assert (feed.state, feed.depth, feed.dead, feed.last_reason, feed.ready) == ("FAILED", 7, 2, "403", False)


def test_final_means_that_every_process_of_the_kind_has_said_its_last_word() -> None:
    progress = Progress()
    assert progress.final("worker")
    progress.take([worker(NOW, 1, identity="h:2:b", final=True), worker(NOW, 1, identity="h:3:c")])
    assert not progress.final("worker")
    assert progress.final("supervisor")
    progress.take([worker(NOW + 1, 1, identity="h:3:c", final=True)])
    assert progress.final("worker")


def test_totals_read_as_the_last_line_of_a_run() -> None:
    progress = Progress()
    progress.take([supervisor(NOW, frames=9, emitted=8, enqueued=7, dropped=1, reconnects=2, lost=3), worker(NOW, 6)])
    totals = progress.totals()
    assert totals == Totals(frames=9, emitted=8, enqueued=7, processed=6, dropped=1, lost=3, reconnects=2)
    assert str(totals) == "frames=9 enqueued=7 processed=6 dropped=1 reconnects=2"
    assert progress.queues() == {"q"}
