"""The supervisor's reports while Redis comes and goes."""

from __future__ import annotations

import os
import socket

from ingest.broker.status import read_statuses
from ingest.events import DeadLettersGrew, Event
from ingest.service.reporter import Reporter
from ingest.service.watch import QueueWatch
from ingest.version import project_version
from tests.support.redis_server import Valkey


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
    assert status["queues"] == {"trades": {"depth": 0, "delayed": 0, "dead": 1, "high_watermark": 1000}}
    assert (status["host"], status["pid"], status["group"]) == (socket.gethostname(), os.getpid(), "staging")
    assert (status["version"], status["started_at"] <= status["at"]) == (project_version(), True)
    assert [type(event) for event in told] == [DeadLettersGrew]
