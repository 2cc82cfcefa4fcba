"""What one feed's parts know of themselves, put together: the numbers that summaries, status, metrics and pages show.

The rule: reads what others count, from any thread; nothing here is asked for while a frame is on its way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Protocol

from ingest.clock import wall_us
from ingest.connection.states import State
from ingest.connection.status import FeedStatus
from ingest.delivery.backlog import Backlog
from ingest.delivery.intake import Intake
from ingest.delivery.losses import Losses
from ingest.delivery.publisher import Publisher
from ingest.errors import EndReason
from ingest.events import GapFound
from ingest.telemetry.facts import safe_text
from ingest.telemetry.metrics import FeedFigures
from ingest.telemetry.summary import FeedNumbers, Lease


class Standing(Protocol):
    """Who leads the feed (`ingest.service.claim.Claim`)."""

    @property
    def lease(self) -> Lease: ...
    @property
    def leader(self) -> str: ...
    @property
    def is_name_taken(self) -> bool: ...


class GapTally:
    """How many gaps each feed has had since the process started, by cause."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self._lock = Lock()

    def count(self, gap: GapFound) -> None:
        """Count one; any thread may tell of it."""
        with self._lock:
            self._counts.setdefault(gap.feed, Counter())[gap.cause] += 1

    def of(self, feed: str) -> dict[str, int]:
        """Return the counts of a feed."""
        with self._lock:
            return dict(self._counts.get(feed, {}))


class FeedReadings:
    """The numbers of one feed.

    Parameters:
      slow_after: seconds after which a callback of the user's shows in the state.
      gaps: the counts of gaps by cause.
    """

    def __init__(
        self,
        status: FeedStatus,
        intake: Intake,
        backlog: Backlog,
        losses: Losses,
        publisher: Publisher,
        standing: Standing,
        *,
        slow_after: float,
        gaps: Callable[[], Mapping[str, int]],
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self._status = status
        self._intake = intake
        self._backlog = backlog
        self._losses = losses
        self._publisher = publisher
        self._standing = standing
        self._slow_after = slow_after
        self._gaps = gaps
        self._wall = wall
        self._shown: tuple[EndReason | None, str | None] = None, None

    def read(self) -> FeedNumbers:
        """Return the numbers as they are now."""
        status, backlog, gaps = self._status, self._backlog, self._gaps()
        state, since = status.showing(self._slow_after)
        down_since = status.down_since
        drops: dict[str, int] = {reason: count for reason, count in dict(self._losses.counts).items() if reason != "lost"}
        return FeedNumbers(
            state=state,
            since=round(since, 3),
            connected=status.state is State.READY,
            frames=status.frames,
            bytes=status.bytes,
            emitted=self._intake.total,
            enqueued=self._publisher.enqueued,
            messages=self._publisher.messages,
            dropped=sum(drops.values()),
            lost=self._losses.counts["lost"],
            drops=drops,
            reconnects=status.reconnects,
            reconnect_reasons=dict(status.reconnect_reasons),
            reconnects_lately=status.reconnects_lately,
            down_since=down_since,
            backlog=len(backlog),
            backlog_bytes=backlog.size,
            spooled=backlog.unread_payloads,
            spool_bytes=backlog.spool_size,
            spool_trouble=safe_text(trouble) if (trouble := backlog.spool_trouble) else "",
            oldest_age=self._oldest_age(),
            lease=self._standing.lease,
            leader=self._standing.leader,
            name_taken=self._standing.is_name_taken,
            paused=status.paused,
            gaps=sum(gaps.values()),
            gap_causes=gaps,
            last_reason=self._last_reason(),
            ping_rtt=status.round_trip,
        )

    def figures(self) -> FeedFigures:
        """Return the numbers with all that is measured."""
        status, publisher = self._status, self._publisher
        return FeedFigures(
            status.label,
            self.read(),
            round_trips=status.round_trips,
            handler_seconds=status.handler_seconds,
            read_frames=status.read_frames,
            call_seconds=publisher.call_seconds,
            call_messages=publisher.call_messages,
        )

    def _last_reason(self) -> str | None:
        """Return the reason as text; masked once, since hundreds of feeds are read each second."""
        reason = self._status.last_reason
        if reason is not self._shown[0]:
            self._shown = reason, None if reason is None else safe_text(str(reason))
        return self._shown[1]

    def _oldest_age(self) -> float | None:
        oldest_us = self._backlog.oldest_held_us
        return None if oldest_us is None else round(max(0, self._wall() - oldest_us) / 1_000_000, 3)
