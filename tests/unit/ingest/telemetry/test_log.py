"""Events as log lines, and how logging is set up."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterator

import pytest

from ingest import events
from ingest.errors import ClosedByServer, Stopped
from ingest.telemetry.log import LEVELS, LogSink, configure_logging, level_of, log_event

EVENTS = [
    kind for _, kind in inspect.getmembers(events, inspect.isclass) if issubclass(kind, events.Event) and kind is not events.Event
]


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_kind_of_event_has_its_level(kind: type[events.Event]) -> None:
    assert kind in LEVELS


def test_an_ending_that_we_asked_for_is_no_warning() -> None:
    asked = events.ConnectionLost(telemetry_id="trades", reason=Stopped(), lasted=1.0)
    closed = events.ConnectionLost(telemetry_id="trades", reason=ClosedByServer(1001), lasted=1.0)

    assert level_of(asked) == logging.INFO
    assert level_of(closed) == logging.WARNING


def test_every_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    sink = LogSink()

    sink.handle(events.RetryScheduled(telemetry_id="trades", at=1_790_000_000.0, attempt=2, delay=1.5))
    sink.handle(events.ConnectionStatus(telemetry_id="trades", value=0))
    sink.close()

    assert capsys.readouterr().err == "2026-09-21T14:13:20.000Z INFO     retry_scheduled feed=trades attempt=2 delay=1.5\n"


def test_what_the_user_s_code_raised_is_logged_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    try:
        raise KeyError("price")
    except KeyError as error:
        cause = error

    LogSink().handle(events.HandlerFailed(telemetry_id="trades", where="on_frame", cause=cause))

    entry = json.loads(capsys.readouterr().err)
    assert (entry["event"], entry["where"], entry["error"]) == ("handler_failed", "on_frame", "KeyError")
    assert "test_log.py" in entry["traceback"]


def test_configuring_again_replaces_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    logging.basicConfig(level=logging.DEBUG, format="theirs %(message)s")

    configure_logging("WARNING")
    log_event(logging.INFO, "quiet", {})
    log_event(logging.WARNING, "loud", {"feed": "trades"})

    err = capsys.readouterr().err
    assert err.endswith(" WARNING  loud feed=trades\n")
    assert "quiet" not in err
    assert "theirs" not in err
