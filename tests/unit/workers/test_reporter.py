"""The thread that publishes a worker's status."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from ingest.errors import BrokerUnreachable
from tests.support.waiting import wait_until
from workers import reporter
from workers.reporter import Snapshot, StatusReporter

DEADLINE = 10.0


class Redis:
    """Takes snapshots, or is away."""

    def __init__(self) -> None:
        self.taken: list[tuple[Any, bool]] = []
        self.away = False
        self.refused = 0

    def publish(self, snapshot: Snapshot, final: bool) -> None:
        if self.away:
            self.refused += 1
            raise BrokerUnreachable("redis://:hunter2@127.0.0.1:1/0 refused")
        self.taken.append((dict(snapshot), final))


def test_snapshots_come_again_and_again_and_the_last_one_is_final() -> None:
    redis = Redis()
    running = StatusReporter(redis.publish, lambda: {"feeds": {}}, interval=0.01)

    running.start()
    wait_until(lambda: len(redis.taken) >= 3, DEADLINE, "three snapshots")
    running.stop()

    finals = [final for _, final in redis.taken]
    assert finals[-1] is True
    assert not any(finals[:-1])


def test_the_first_snapshot_does_not_wait_for_the_interval() -> None:
    redis = Redis()
    running = StatusReporter(redis.publish, dict, interval=3600.0)

    running.start()
    wait_until(lambda: redis.taken, DEADLINE, "the first snapshot")
    running.stop()

    assert redis.taken == [({}, False), ({}, True)]


def test_an_outage_is_told_once_without_secrets_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dramatiq_websocket")
    redis = Redis()
    redis.away = True
    running = StatusReporter(redis.publish, dict, interval=0.005)

    running.start()
    wait_until(lambda: redis.refused >= 5, DEADLINE, "five failures")
    redis.away = False
    wait_until(lambda: redis.taken, DEADLINE, "the end of the outage")
    running.stop()

    assert [record.getMessage() for record in caplog.records] == ["status_unavailable", "status_available"]
    assert "hunter2" not in str(caplog.records[0].__dict__)


def test_stop_waits_no_longer_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "STOP_TIMEOUT", 0.1)
    entered, release = threading.Event(), threading.Event()

    def stuck(snapshot: Snapshot, final: bool) -> None:
        entered.set()
        release.wait(DEADLINE)

    running = StatusReporter(stuck, dict)
    running.start()
    assert entered.wait(DEADLINE)
    running.stop()

    assert running._thread.is_alive()  # given up on, not waited for
    release.set()
    running._thread.join(DEADLINE)


def test_stopping_what_was_never_started_does_nothing() -> None:
    redis = Redis()

    StatusReporter(redis.publish, dict).stop()

    assert redis.taken == []
