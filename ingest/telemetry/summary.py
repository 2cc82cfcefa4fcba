"""One feed's last seconds in one line: what ran, how fast, and what stands in the way.

The rule: pure; the caller keeps the time and the numbers of the last line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ingest.telemetry.facts import Plain
from ingest.telemetry.lines import render

#: Seconds between two lines of a feed.
INTERVAL = 30.0

#: The event name of the line.
NAME = "feed_summary"


#: Whether this process leads a feed, another does, or nobody as far as it knows.
Lease = Literal["leads", "stands_by", "none"]


@dataclass(frozen=True, slots=True)
class FeedNumbers:
    """A feed's totals since the process started, its state and what waits in its backlog.

    ``frames`` are those that were read, ``bytes`` what the server sent with all that belongs to it (without TLS, before it is
    inflated); ``emitted``, ``enqueued``, ``dropped``, ``lost`` and ``spooled`` count payloads, so that they add up; ``messages``
    (enqueued) and ``backlog`` count messages, which carry several payloads each with `batch`.

    Attributes:
      since: when ``state`` began (wall-clock seconds).
      down_since: since when there is no ready connection, over all attempts (wall-clock seconds); None while there is one.
      reconnects_lately: those of the last ten minutes, up to 1000.
      connected: whether the connection is ready, whatever else the state shows.
      drops: what ``dropped`` is made of, by `ingest.events.DropReason`.
      reconnect_reasons: what ``reconnects`` is made of, by the `kind` of the reason.
      backlog_bytes, spool_bytes: in memory, and on disk.
      spool_trouble: what is wrong with the spool's files or their disk now; "" if nothing is.
      oldest_age: seconds since the oldest payload that waits was received; None: none waits.
      leader: the producer that leads, of this process or another's; "" where none is known.
      name_taken: whether another feed of the same name (with another url, actor or queue) leads, which keeps this one from it.
      paused: whether an operator has stopped the feed for the time being.
      gaps: what ``gap_causes`` adds up to, by `ingest.events.GapCause`.
      ping_rtt: the round trip of the newest ping in seconds; None: none came back yet.
    """

    state: str = "IDLE"
    since: float = 0.0
    connected: bool = False
    frames: int = 0
    bytes: int = 0
    emitted: int = 0
    enqueued: int = 0
    messages: int = 0
    dropped: int = 0
    lost: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)
    reconnects: int = 0
    reconnect_reasons: Mapping[str, int] = field(default_factory=dict)
    reconnects_lately: int = 0
    down_since: float | None = None
    backlog: int = 0
    backlog_bytes: int = 0
    spooled: int = 0
    spool_bytes: int = 0
    spool_trouble: str = ""
    oldest_age: float | None = None
    lease: Lease = "none"
    leader: str = ""
    name_taken: bool = False
    paused: bool = False
    gaps: int = 0
    gap_causes: Mapping[str, int] = field(default_factory=dict)
    last_reason: str | None = None
    ping_rtt: float | None = None

    def plain(self) -> dict[str, Any]:
        """Return the numbers by name, for JSON."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


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
