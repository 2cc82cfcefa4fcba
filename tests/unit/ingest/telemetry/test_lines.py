"""One record, one line, in both formats."""

from __future__ import annotations

import json
import logging
import sys

from ingest.telemetry.lines import AT, FIELDS, ConsoleFormatter, JsonFormatter, render


def record(message: str, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("myapp", logging.WARNING, "app.py", 1, message, None, None)
    made.__dict__.update(attributes)
    return made


def raised() -> logging.LogRecord:
    made = record("feed_crashed", **{FIELDS: {"feed": "trades"}})
    try:
        raise KeyError("price")
    except KeyError:
        made.exc_info = sys.exc_info()
    return made


def test_render_quotes_only_what_needs_it() -> None:
    line = render("lost", {"feed": "trades", "detail": 'said "no"', "lasted": 1.5, "last": None, "ok": True, "empty": ""})

    assert line == 'lost feed=trades detail="said \\"no\\"" lasted=1.5 last=null ok=true empty=""'


def test_a_value_cannot_break_out_of_its_line() -> None:
    line = render("lost", {"detail": "bye\n2026-01-01T00:00:00Z ERROR forged feed=trades"})

    assert "\n" not in line


def test_the_console_shows_the_event_s_own_time_level_name_and_fields() -> None:
    line = ConsoleFormatter().format(record("connection_lost", **{FIELDS: {"feed": "trades"}, AT: 1_790_000_000.25}))

    assert line == "2026-09-21T14:13:20.250Z WARNING  connection_lost feed=trades"


def test_the_console_names_the_logger_and_the_process_of_other_lines() -> None:
    line = ConsoleFormatter().format(record("Worker process is ready for action."))

    assert line.endswith("WARNING  Worker process is ready for action. [myapp pid=" + str(record("").process) + "]")


def test_tracebacks_follow_the_line() -> None:
    first, *rest = ConsoleFormatter().format(raised()).splitlines()

    assert first.endswith("feed_crashed feed=trades")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "KeyError: 'price'"


def test_json_is_one_object_a_line() -> None:
    line = JsonFormatter().format(raised())
    entry = json.loads(line)

    assert "\n" not in line
    assert (entry["event"], entry["feed"], entry["level"]) == ("feed_crashed", "trades", "warning")
    assert entry["traceback"].endswith("KeyError: 'price'")
    assert entry["at"].endswith("Z")


def test_json_of_other_lines_has_logger_and_message() -> None:
    entry = json.loads(JsonFormatter().format(record("hello")))

    assert (entry["logger"], entry["message"]) == ("myapp", "hello")
    assert "event" not in entry


def test_both_formats_mask_urls_in_messages_fields_and_tracebacks() -> None:
    secret = "redis://:hunter2@127.0.0.1:6379/0"
    made = record(f"cannot connect to {secret}")
    try:
        raise OSError(f"connect to {secret}: refused")
    except OSError:
        made.exc_info = sys.exc_info()

    for formatter in (ConsoleFormatter(), JsonFormatter()):
        line = formatter.format(made)
        assert "hunter2" not in line
        assert "refused" in line
