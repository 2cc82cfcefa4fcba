"""Which snapshots count as this run's own; the counting in Redis is tried in test_embedded.py, against a server."""

from __future__ import annotations

import socket

import pytest

from ingest.tools.dev import readings as module
from ingest.tools.dev.readings import Readings
from settings.model import BrokerSettings

HOST = socket.gethostname()


def test_only_snapshots_of_our_own_processes_count_also_when_they_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = {11}
    readings = Readings(BrokerSettings(), lambda pid: pid in alive)
    stored = [{"id": f"{HOST}:11:a"}, {"id": f"{HOST}:12:b"}, {"id": "elsewhere:11:c"}, {"id": "rubbish"}]
    monkeypatch.setattr(module, "read_statuses", lambda client, namespace: stored)
    assert readings.snapshots() == stored[:1]
    alive.clear()
    assert readings.snapshots() == stored[:1], "its last word is read when it has ended"
    readings.close()
