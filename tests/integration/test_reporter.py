"""The supervisor's reports while Redis comes and goes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest
import redis

from ingest.broker.status import read_statuses
from ingest.events import DeadLettersGrew, Event
from ingest.service.reporter import STALE, Reporter
from ingest.service.watch import QueueWatch
from ingest.version import project_version
from tests.support.connections import ManualClock
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until


def test_an_outage_of_redis_silences_the_reports_and_no_more(valkey: Valkey) -> None:
    told: list[Event] = []
    client = valkey.client()
    reporter = Reporter(client, "ns", [], told.append, group="staging")
    reporter.watch([QueueWatch("trades", "trades", 1000)])
    assert reporter.report()

    valkey.stop()
    assert not reporter.report()
    assert not reporter.report(final=True)

    valkey.start()
    client.zadd("ns:trades.XQ", {"dead": 1.0})
    assert reporter.report()
    [status] = read_statuses(client, "ns")
    lately = {"died_lately": 0, "stalled_seconds": 0}  # as the last look found it
    assert status["queues"] == {"trades": {"depth": 0, "delayed": 0, "dead": 1, **lately, "high_watermark": 1000}}
    assert (status["host"], status["pid"], status["group"]) == (socket.gethostname(), os.getpid(), "staging")
    assert (status["version"], status["started_at"] <= status["at"]) == (project_version(), True)
    assert [type(event) for event in told] == [DeadLettersGrew]


@pytest.mark.parametrize(
    ("refuse", "allow", "says"),
    [
        (
            lambda client: client.config_set("maxmemory", "100kb"),
            lambda client: client.config_set("maxmemory", "0"),
            "Redis refuses writes: OOM command not allowed when used memory > 'maxmemory'",
        ),
        (
            lambda client: client.replicaof("127.0.0.1", "1"),
            lambda client: client.replicaof("NO", "ONE"),
            "Redis refuses writes: READONLY You can't write against a read only replica",
        ),
    ],
    ids=["full", "replica"],
)
def test_a_redis_that_answers_and_takes_no_snapshot_is_in_trouble_by_its_own_words(
    valkey: Valkey, refuse: Callable[[redis.Redis], object], allow: Callable[[redis.Redis], object], says: str
) -> None:
    client = valkey.client()
    reporter = Reporter(client, "ns", [], lambda event: None)
    reporter.watch([QueueWatch("trades", "trades", 1000)])
    assert reporter.trouble() == "Redis does not answer"
    assert reporter.report()
    assert reporter.trouble() == ""

    refuse(client)
    assert not reporter.report()
    assert reporter.trouble().startswith(says)
    assert "Command #" not in reporter.trouble()
    assert reporter.queues() is not None, "reads succeed"

    allow(client)
    wait_until(reporter.report, 60, "a snapshot that is taken")
    assert reporter.trouble() == ""


def test_a_redis_that_is_away_is_not_said_to_refuse(valkey: Valkey) -> None:
    clock = ManualClock()
    reporter = Reporter(valkey.client(), "ns", [], lambda event: None, clock=clock)
    assert reporter.report()
    valkey.stop()

    assert not reporter.report()
    assert reporter.trouble() == "", "one answer that is missing is no outage"
    clock.now += STALE + 1
    assert reporter.trouble() == "Redis does not answer"
