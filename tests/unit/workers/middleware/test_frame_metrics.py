"""What a worker counts by feed."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from tests.support.waiting import wait_until
from workers.middleware.frame_metrics import FrameMetrics
from workers.reporter import Snapshot

BROKER = StubBroker(middleware=[])


def message(feed: str | None = "trades", age: float = 0.0, **options: Any) -> dramatiq.MessageProxy:
    if feed is not None:
        options["frame"] = {"feed": feed, "seq": 1, "received_us": time.time_ns() // 1000 - int(age * 1e6)}
    return dramatiq.MessageProxy(dramatiq.Message("q", "a", (), {}, options))


def nowhere(snapshot: Snapshot, final: bool) -> None:
    """Take a snapshot and forget it."""


def feeds_after(*attempts: tuple[dramatiq.MessageProxy, BaseException | None]) -> dict[str, Any]:
    metrics = FrameMetrics(nowhere)
    for attempted, exception in attempts:
        metrics.before_process_message(BROKER, attempted)
        metrics.after_process_message(BROKER, attempted, exception=exception)
    feeds: dict[str, Any] = metrics.snapshot()["feeds"]
    return feeds


def test_attempts_are_counted_by_feed_and_outcome() -> None:
    feeds = feeds_after((message(), None), (message(), None), (message(), ValueError()), (message("books"), None))

    assert {name: (feed["processed"], feed["failed"]) for name, feed in feeds.items()} == {"trades": (2, 1), "books": (1, 0)}


def test_foreign_messages_are_not_counted() -> None:
    assert feeds_after((message(None), None)) == {}


def test_lag_is_from_the_wire_to_the_actor_in_milliseconds() -> None:
    lag = feeds_after((message(age=2.0), None), (message(age=60.0), None))["trades"]["lag_ms"]

    assert 1900 < lag["p50"] < 5000
    assert 57_000 < lag["p99"] < 65_000


def test_a_retry_says_nothing_of_how_far_behind_the_workers_are() -> None:
    feed = feeds_after((message(age=60.0, retries=1), None))["trades"]

    assert (feed["processed"], feed["lag_ms"]) == (1, None)


def test_a_server_clock_that_is_ahead_is_no_negative_lag() -> None:
    assert feeds_after((message(age=-60.0), None))["trades"]["lag_ms"] == {"p50": 0.0, "p99": 0.0}


def test_it_tells_from_the_boot_of_the_process_to_the_end_of_its_worker() -> None:
    told: list[tuple[Snapshot, bool]] = []
    metrics = FrameMetrics(lambda snapshot, final: told.append((snapshot, final)))
    broker = StubBroker(middleware=[metrics])
    worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=1)

    broker.emit_after("process_boot")
    wait_until(lambda: told, 10, "a first status")
    metrics.after_process_message(broker, message())
    worker.start()
    worker.stop()

    assert [told[0][1], told[-1][1]] == [False, True]
    assert told[-1][0]["feeds"]["trades"]["processed"] == 1


def test_every_frame_of_a_message_is_counted() -> None:
    whole, failing = message(), message()
    for each in (whole, failing):
        each.options["frame"]["count"] = 5

    feed = feeds_after((whole, None), (failing, ValueError()))["trades"]

    assert (feed["processed"], feed["failed"]) == (5, 5)


def test_where_dramatiq_s_metrics_are_in_use_the_same_goes_there(tmp_path, monkeypatch) -> None:
    told: list[tuple[object, ...]] = []
    made = SimpleNamespace(lag=lambda *values: told.append(("lag", *values)), done=lambda *values: told.append(("done", *values)))
    monkeypatch.setattr("workers.middleware.frame_metrics.open_metrics", lambda labels: made)
    monkeypatch.setenv("dramatiq_prom_db", str(tmp_path))
    from dramatiq.middleware.prometheus import Prometheus  # makes a folder

    broker = StubBroker(middleware=[Prometheus()])
    metrics = FrameMetrics(nowhere)
    metrics.after_process_boot(broker)
    try:
        attempted = message(age=2.0)
        metrics.before_process_message(broker, attempted)
        metrics.after_process_message(broker, attempted)
        failed = message(retries=1)
        metrics.before_process_message(broker, failed)
        metrics.after_process_message(broker, failed, exception=ValueError())
    finally:
        metrics.after_worker_shutdown(broker, dramatiq.Worker(broker))
    [(_, feed, lag), done, failure] = told
    assert (feed, 2.0 <= lag < 60.0) == ("trades", True)
    assert (done, failure) == (("done", "trades", 1, 0), ("done", "trades", 0, 1))


def test_what_was_done_and_what_failed_in_the_last_minute_is_told_beside_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("workers.middleware.frame_metrics.time", SimpleNamespace(monotonic=lambda: now))
    metrics = FrameMetrics(nowhere)
    told = []
    for second in range(200):
        now = 1000.0 + second
        if second < 100:
            metrics.after_process_message(BROKER, message(), exception=ValueError() if second % 2 else None)
        feed = metrics.snapshot()["feeds"]["trades"]
        told.append((feed["processed_lately"], feed["failed_lately"]))

    assert told[21] == (11, 11)
    assert all(28 <= count <= 33 for counts in told[65:100] for count in counts)
    assert told[-1] == (0, 0)
    assert (feed["processed"], feed["failed"]) == (50, 50)
