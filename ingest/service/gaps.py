"""What ``gaps`` prints: when frames of the feeds may have been missed, as Redis remembers it.

The rule: texts that come from Redis may hold anything; none of them reaches a terminal as a control character.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from ingest.broker.clients import make_client
from ingest.broker.gaps import GapRecord, read_gaps
from ingest.broker.keys import Keys
from ingest.errors import BrokerError
from ingest.telemetry.facts import safe_text
from settings.model import Settings
from settings.problems import Problem, SettingsError
from settings.wire import message_id

_COLUMNS = ("feed", "cause", "from (UTC)", "to (UTC)", "seconds", "lost", "last seq", "position", "detail")


def gaps_of(settings: Settings, feeds: Sequence[str], since_us: int = 0) -> list[GapRecord]:
    """Return the gaps of these feeds, or of all, that ended at ``since_us`` or later; the newest last.

    `SettingsError` if Redis does not answer.
    """
    broker = settings.broker
    try:
        client = make_client(**broker.endpoint(), max_connections=1)
    except ValueError as error:
        raise SettingsError([Problem("broker.url", str(error))]) from None
    try:
        return read_gaps(
            client, Keys(broker.namespace), settings.supervisor.group, feeds or list(settings.feeds), since_us=since_us
        )
    except BrokerError as error:
        raise SettingsError([Problem("broker.url", str(error))]) from error
    finally:
        client.close()


def parse_since(text: str, now: float) -> int:
    """Return the moment, in wall-clock microseconds, that so many seconds before ``now``, or a date and time, name.

    Without a zone it is UTC, as in the log. ``ValueError`` if it is neither.
    """
    try:
        moment = now - float(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        moment = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    if not moment <= now:  # NaN is not
        raise ValueError(f"{text} lies in the future")
    return max(0, int(max(moment, 0) * 1_000_000))


def json_lines(gaps: Iterable[GapRecord]) -> Iterable[str]:
    """Return each gap as one JSON object, with everything that is known of it."""
    return (json.dumps({"message_id": _last_message(gap), **gap.content()}) for gap in gaps)


def show_gaps(gaps: Sequence[GapRecord], out: Console) -> None:
    """Print a table, or that there is nothing to print."""
    if not gaps:
        out.print("no gaps")
        return
    rows = [_row(gap) for gap in gaps]
    # A column in which nothing stands takes the room of those that matter.
    shown = [at for at, _ in enumerate(_COLUMNS) if any(row[at] for row in rows)]
    table = Table(*(_COLUMNS[at] for at in shown), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(row[at] for at in shown))
    out.print(table)


def _row(gap: GapRecord) -> tuple[str, ...]:
    return (
        _printable(gap.feed),
        _printable(gap.cause),
        _time(gap.from_us),
        _time(gap.to_us),
        f"{(gap.to_us - gap.from_us) / 1_000_000:.1f}",
        str(gap.count) if gap.count is not None else "",
        str(gap.last_seq) if gap.last_seq else "",
        safe_text(json.dumps(gap.position)) if gap.position is not None else "",
        _printable(safe_text(gap.detail)),
    )


def _last_message(gap: GapRecord) -> str | None:
    """Return the id of the last message before the gap, where there was one."""
    return message_id(gap.producer, gap.last_seq) if gap.producer and gap.last_seq else None


def _time(us: int) -> str:
    try:
        return f"{datetime.fromtimestamp(us / 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):  # a record of somebody else's
        return str(us)


def _printable(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)
