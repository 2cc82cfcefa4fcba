"""An event as a name and plain fields: what the log, Sentry and a status page show of it.

The rule: pure; what leaves here is bounded, and secrets in it are masked.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields

from ingest.errors import EndReason
from ingest.events import Event
from ingest.telemetry.masking import mask_text

Plain = str | int | float | bool | None

#: Longer texts (of servers, of exceptions) are cut.
LONGEST_TEXT = 500

#: ``feed`` is the name under which Redis keeps a gap; a line's ``feed`` is the telemetry_id on all of them. ``frame`` is content,
#: which leaves only through who is told to let it.
_SAID_ELSEWHERE = frozenset({"telemetry_id", "at", "feed", "frame"})

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def event_name(kind: type[Event]) -> str:
    """Return the name under which a kind of event is logged: ``connection_ready`` for ``ConnectionReady``."""
    return _WORD.sub("_", kind.__name__).lower()


def event_fields(event: Event) -> dict[str, Plain]:
    """Return the event's content as plain values; ``feed`` comes first, ``at`` is left to the caller."""
    shown: dict[str, Plain] = {"feed": event.telemetry_id}
    for item in fields(event):
        if item.name not in _SAID_ELSEWHERE:
            shown.update(_plain(item.name, getattr(event, item.name)))
    return shown


def event_cause(event: Event) -> BaseException | None:
    """Return the exception of the user's or our own code that the event is about, if there is one."""
    cause = getattr(event, "cause", None)
    return cause if isinstance(cause, BaseException) else None


def safe_text(text: str) -> str:
    """Return a text that may be shown and kept: secrets masked, at most `LONGEST_TEXT` characters."""
    masked = mask_text(text)
    return masked if len(masked) <= LONGEST_TEXT else f"{masked[:LONGEST_TEXT]}…"


def _plain(name: str, value: object) -> dict[str, Plain]:
    if isinstance(value, EndReason):
        return {name: value.kind, "detail": safe_text(str(value))}
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "detail": safe_text(str(value))}
    if isinstance(value, float):
        return {name: round(value, 3)}
    if value is None or isinstance(value, int):
        return {name: value}
    return {name: safe_text(_json(value) if isinstance(value, (dict, list, tuple)) else str(value))}


def _json(value: object) -> str:
    """Return a value of the user's as JSON, or as Python shows it where it is none."""
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
