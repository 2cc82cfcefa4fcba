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
from ingest.telemetry.storms import BURST, CALM
from tests.support.connections import ManualClock

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


def lost(number: int) -> events.ConnectionLost:
    return events.ConnectionLost(telemetry_id="trades", reason=ClosedByServer(1001, f"no {number}"), lasted=1.0)


def test_a_storm_is_a_few_lines_and_a_summary_with_the_last_reason(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    clock = ManualClock()
    sink = LogSink(clock)
    for number in range(50):
        sink.handle(lost(number))
        clock.now += 1.0
    sink.tick()
    assert len(capsys.readouterr().err.splitlines()) == BURST

    clock.now += CALM
    sink.tick()

    [line] = capsys.readouterr().err.splitlines()
    assert f"WARNING  connection_lost_repeated feed=trades times=40 seconds={50 + CALM:.1f} reason=ClosedByServer" in line
    assert "(no 49)" in line


def test_a_storm_is_summed_up_at_the_end_of_the_process_and_drops_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    sink = LogSink(ManualClock())
    for number in range(BURST + 5):
        sink.handle(
            events.FramesDropped(
                telemetry_id="trades", reason="drop_oldest", producer="p", count=100, first_seq=number, last_seq=number
            )
        )
    sink.handle(
        events.FramesDropped(telemetry_id="trades", reason="fenced", producer="p", count=1, first_seq=1, last_seq=1)
    )  # another reason is another storm
    sink.close()

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == BURST + 2
    assert "frames_dropped_repeated feed=trades times=5 " in lines[-1]
    assert " count=500 " in lines[-1]


def test_who_looks_at_everything_gets_everything(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug")
    sink = LogSink(ManualClock())
    for _ in range(50):
        sink.handle(events.StateChanged(telemetry_id="trades", old="A", new="B"))
    assert len(capsys.readouterr().err.splitlines()) == 50
