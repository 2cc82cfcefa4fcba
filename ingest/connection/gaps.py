"""The intervals of one feed in which frames may have been missed: from the end of one connection until the next is ready.

The rule: pure; wall-clock microseconds come in, `GapFound` facts go out. One gap per outage, however many attempts it takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from ingest.errors import ClosedByServer, ConnectionDropped, EndReason, Fenced, Paused, SendTimedOut
from ingest.events import GapCause, GapFound


@dataclass(frozen=True, slots=True)
class Before:
    """What is known of the time before this process led: who was heard of last (``from_us``), and how far that producer was."""

    cause: Literal["failover", "restart"]
    producer: str
    last_seq: int
    position: Any
    from_us: int


@dataclass(frozen=True, slots=True)
class LastHeard:
    """How far a connection was: the wall clock when something came last, and the last payload emitted by then."""

    at_us: int
    producer: str
    last_seq: int
    position: Any


@dataclass(frozen=True, slots=True)
class _Open:
    cause: GapCause
    heard: LastHeard
    detail: str


class GapTracker:
    """The gap that is open now, if one is."""

    def __init__(self, label: str, feed: str) -> None:
        self._label = label
        self._feed = feed
        self._open: _Open | None = None
        self._given_up: _Open | None = None  # begun by being fenced: ours to tell only if nobody led meanwhile

    def lost(self, reason: EndReason, heard: LastHeard, *, blocked: bool) -> None:
        """Open the gap that the end of a ready connection leaves; ``blocked`` if we had not read all that it had for us."""
        if isinstance(reason, Fenced):
            self._given_up = _Open("disconnected", heard, reason.kind)
        elif self._open is None and isinstance(reason, Paused):
            self._open = _Open("paused", heard, "")
        elif self._open is None:
            cut = blocked and isinstance(reason, ClosedByServer | ConnectionDropped | SendTimedOut)
            self._open = _Open("blocked" if cut else "disconnected", heard, reason.kind)

    def entered(self, before: Before | None) -> None:
        """Begin a tenure: frames are missed since whoever led before, or else since our own last connection."""
        if before is not None:
            heard = LastHeard(before.from_us, before.producer, before.last_seq, before.position)
            self._open = _Open(before.cause, heard, "")
        elif self._open is None:
            self._open = self._given_up
        self._given_up = None

    def paused(self, heard: LastHeard) -> GapFound | None:
        """Take that there is no connection because of a pause, from ``heard.at_us`` on; return the gap that ends with that."""
        if self._open is not None and self._open.cause == "paused":
            return None
        told = self._open
        gap = self._close(heard.at_us, "paused")
        self._open = _Open("paused", heard if told is None else replace(told.heard, at_us=heard.at_us), "")
        return gap

    @property
    def since_us(self) -> int | None:
        """When the gap that is open began; None if none is."""
        return self._open.heard.at_us if self._open is not None else None

    def readied(self, now_us: int) -> GapFound | None:
        """Close the gap: frames come again."""
        return self._close(now_us, "")

    def ended(self, now_us: int, how: str) -> GapFound | None:
        """Close the gap though no connection is ready: nobody will do it later. ``how``: stopped, gave up, fenced."""
        return self._close(now_us, how)

    def _close(self, now_us: int, how: str) -> GapFound | None:
        gap, self._open = self._open, None
        if gap is None:
            return None
        heard = gap.heard
        return GapFound(
            telemetry_id=self._label,
            feed=self._feed,
            cause=gap.cause,
            from_us=heard.at_us,
            to_us=max(heard.at_us, now_us),  # the clock may have been set back meanwhile
            producer=heard.producer,
            last_seq=heard.last_seq,
            position=heard.position,
            detail=", ".join(filter(None, (gap.detail, how))),
        )
