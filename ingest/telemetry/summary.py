"""One feed's last seconds in one line: what ran, how fast, and what stands in the way.

The rule: pure; the caller keeps the time and the numbers of the last line.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingest.telemetry.facts import Plain
from ingest.telemetry.lines import render

#: Seconds between two lines of a feed.
INTERVAL = 30.0

#: The event name of the line.
NAME = "feed_summary"


@dataclass(frozen=True, slots=True)
class FeedNumbers:
    """A feed's totals since the process started, its state and what waits in its backlog.

    ``frames`` are those that were read; ``emitted``, ``enqueued``, ``dropped``, ``lost`` and ``spooled`` count payloads, so that
    they add up; ``messages`` (enqueued) and ``backlog`` count messages, which carry several payloads each with `batch`.
    """

    state: str = "IDLE"
    frames: int = 0
    emitted: int = 0
    enqueued: int = 0
    messages: int = 0
    dropped: int = 0
    lost: int = 0
    reconnects: int = 0
    backlog: int = 0
    spooled: int = 0
    last_reason: str | None = None


def summary_line(feed: str, before: FeedNumbers, now: FeedNumbers, seconds: float) -> str:
    """Return the line of `summary_fields` as text."""
    return render(NAME, summary_fields(feed, before, now, seconds))


def summary_fields(feed: str, before: FeedNumbers, now: FeedNumbers, seconds: float) -> dict[str, Plain]:
    """Return totals, the rates over the ``seconds`` between the two, and only those troubles that there are."""
    shown: dict[str, Plain] = {
        "feed": feed,
        "state": now.state,
        "frames": now.frames,
        "frames_per_second": _rate(now.frames - before.frames, seconds),
        "enqueued": now.enqueued,
        "enqueued_per_second": _rate(now.enqueued - before.enqueued, seconds),
        **({"messages": now.messages} if now.messages not in (0, now.enqueued) else {}),
        "backlog": now.backlog,
        "reconnects": now.reconnects,
    }
    if now.spooled:
        shown["spooled"] = now.spooled
    if now.dropped:
        shown["dropped"] = now.dropped
    if now.lost:
        shown["lost"] = now.lost
    if now.reconnects > before.reconnects or now.state != "READY":
        shown["last_reason"] = now.last_reason
    return shown


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds > 0 else 0.0
