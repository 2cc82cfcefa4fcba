"""When a process counts as one that works on messages."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from ingest.broker import RateLimitedBroker
from ingest.broker.worker_process import is_worker_process, worker_begins, worker_ended


@pytest.fixture(autouse=True)
def _no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dramatiq.cli", raising=False)


def test_only_while_a_worker_runs() -> None:
    one, other = Worker(StubBroker(middleware=[])), Worker(StubBroker(middleware=[]))
    assert not is_worker_process()
    worker_begins(one)
    worker_begins(other)
    worker_ended(one)
    assert is_worker_process()
    worker_ended(other)
    assert not is_worker_process()


def test_a_worker_that_was_thrown_away_does_not_count() -> None:
    worker_begins(Worker(StubBroker(middleware=[])))
    assert not is_worker_process()


def test_the_dramatiq_command_is_one_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dramatiq.cli", ModuleType("dramatiq.cli"))
    assert is_worker_process()


def test_the_broker_notices_the_first_signal_of_a_worker_and_the_last() -> None:
    broker = RateLimitedBroker(url="redis://127.0.0.1:1/0", middleware=[])
    worker = Worker(broker)
    assert not is_worker_process()
    broker.emit_before("worker_boot", worker)
    broker.emit_after("worker_boot", worker)
    broker.emit_before("worker_shutdown", worker)
    assert is_worker_process()
    broker.emit_after("worker_shutdown", worker)
    assert not is_worker_process()
