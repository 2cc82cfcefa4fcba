"""Log records as lines: readable for a console, JSON for machines.

The rule: one record is one line (a traceback follows it), a value can never break out of its line, and
secrets in it are masked.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ingest.telemetry.masking import mask_text

#: Attributes of a record that `ingest.telemetry.log` sets: the event's fields, and when it happened.
FIELDS = "event_fields"
AT = "event_at"

#: What a filter says of where a record of any logger comes from: fields that follow its message.
CONTEXT = "event_context"

_BARE = re.compile(r"[^\s\"'=\\\x00-\x1f]+")


def render(name: str, fields: Mapping[str, object]) -> str:
    """Return ``name key=value …``; values with blanks, quotes or control characters are quoted as JSON."""
    return " ".join([name, *(f"{key}={_value(value)}" for key, value in fields.items())])


class ConsoleFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO  connection_ready feed=trades …``, with the logger's name where it is not ours."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, FIELDS, None)
        context = getattr(record, CONTEXT, {})
        if fields is None:
            text = render(f"{record.getMessage()} [{record.name} pid={record.process}]", context)
        else:
            text = render(record.getMessage(), {**fields, **context})
        trace = _traceback(self, record)
        return mask_text(f"{_time(record)} {record.levelname:<8} {text}" + (f"\n{trace}" if trace else ""))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``at``, ``level``, ``event`` and its fields; other loggers give ``logger`` and ``message``."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {"at": _time(record), "level": record.levelname.lower(), "pid": record.process}
        fields = getattr(record, FIELDS, None)
        entry |= getattr(record, CONTEXT, {})
        if fields is None:
            entry |= {"logger": record.name, "message": record.getMessage()}
        else:
            entry |= {"event": record.getMessage(), **fields}
        if trace := _traceback(self, record):
            entry["traceback"] = trace
        # Masked before it is encoded: a backslash of JSON's own must not end a URL early.
        return json.dumps(
            {key: mask_text(value) if isinstance(value, str) else value for key, value in entry.items()}, default=str
        )


def _value(value: object) -> str:
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, default=str)


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(getattr(record, AT, record.created), UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the record's traceback without asking for its cached text, which another formatter may have made."""
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[1] else []
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)
