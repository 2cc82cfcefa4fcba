"""The demonstration's own files: they pass the check, and its actors do what they say."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from tests.support.markdown import ROOT

SIMULATOR = {"SIMULATOR_URL": "ws://127.0.0.1:1/v2"}


def test_the_file_passes_the_check_also_without_the_symbols() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ingest", "check", "--feeds", "examples/demo/feeds.toml"],
        cwd=ROOT,
        env=SIMULATOR,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "every feed's actor is in examples.demo.actors" in done.stdout


def test_the_session_asks_for_the_symbols_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from examples.demo.sessions import SimulatedKraken
    from ingest.testing import run_session

    monkeypatch.setenv("SIMULATOR_SYMBOLS", "SOL/USD,ADA/USD")
    run = run_session(SimulatedKraken, session_args={"channel": "trade"})
    assert len(run.sent) == 1
    assert '"SOL/USD", "ADA/USD"' in str(run.sent[0])


def test_a_crossed_book_is_refused_and_volumes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dramatiq.broker.global_broker", None)
    dramatiq.set_broker(StubBroker())
    from examples.demo import actors

    book = {"symbol": "BTC/USD", "bids": [["99.9", "1"]], "asks": [["100.1", "1"]]}
    actors.watch_book(book)
    with pytest.raises(ValueError, match=r"crossed book of BTC/USD: 100\.1 >= 100\.1"):
        actors.watch_book(book | {"bids": [["100.1", "1"]]})
    for qty in ("0.1", "0.2"):
        actors.count_trade({"symbol": "X/Y", "qty": qty})
    assert actors._volume["X/Y"] == Decimal("0.3")
