"""Counts what will not be delivered, and tells of it: once per episode, with the first and the last number.

The rule: every payload that was numbered and is given up goes through here; payloads are counted, however many share a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ingest.clock import Monotonic, monotonic, wall_us
from ingest.delivery.entry import Entry, payloads_in
from ingest.events import DropReason, DropsBegan, FramesDropped, GapCause, GapFound, Publish

#: A long episode is told in parts of so many seconds.
LONGEST_EPISODE = 60.0

_CAUSES: dict[DropReason, GapCause] = {"fenced": "fenced", "rejected": "rejected", "damaged": "damaged", "lost": "lost"}


class _Episode:
    """Drops of one producer for one reason, one after the other."""

    def __init__(self, producer: str, reason: DropReason, began: float, position: Any) -> None:
        self.producer = producer
        self.reason = reason
        self.began = began
        self.position = position
        self.count = 0
        self.first = self.last = self.from_us = self.to_us = 0

    def add(self, first: int, last: int, count: int, from_us: int, to_us: int) -> None:
        self.first = min(self.first, first) if self.count else first
        self.from_us = min(self.from_us, from_us) if self.count else from_us
        self.last, self.to_us = max(self.last, last), max(self.to_us, to_us)
        self.count += count


class Losses:
    """What one feed has dropped, by reason.

    Parameters:
      label: the feed's ``telemetry_id``; ``feed``: its name.
      position: what the feed's session said of its place with the last emission.
    """

    def __init__(
        self,
        feed: str,
        label: str,
        publish: Publish,
        *,
        position: Callable[[], Any] = lambda: None,
        clock: Monotonic = monotonic,
    ) -> None:
        self.counts: Counter[DropReason] = Counter()
        self._feed = feed
        self._label = label
        self._publish = publish
        self._position = position
        self._clock = clock
        self._episode: _Episode | None = None

    @property
    def total(self) -> int:
        """Payloads given up so far, whatever the reason."""
        return self.counts.total()

    @property
    def since_us(self) -> int | None:
        """When the oldest payload of the episode that goes on was received: nothing is recorded of it yet; None if none does."""
        episode = self._episode
        return episode.from_us if episode is not None and episode.count else None

    def drop(self, producer: str, entries: Sequence[Entry], reason: DropReason) -> None:
        """Take that the payloads of these messages are given up."""
        if entries:
            first, last = entries[0], entries[-1]
            self.drop_range(producer, first.seq, last.last, payloads_in(entries), first.received_us, last.received_us, reason)

    def drop_range(self, producer: str, first: int, last: int, count: int, from_us: int, to_us: int, reason: DropReason) -> None:
        """Take that ``count`` payloads with numbers from ``first`` to ``last`` are given up."""
        now = self._clock()
        episode = self._episode
        if episode is not None and (episode.producer != producer or episode.reason != reason):
            self.end()
            episode = None
        if episode is None:
            episode = self._episode = _Episode(producer, reason, now, self._position())
            self._publish(DropsBegan(telemetry_id=self._label, reason=reason, producer=producer, first_seq=first))
        episode.add(first, last, count, from_us, to_us)
        self.counts[reason] += count
        if now - episode.began >= LONGEST_EPISODE:
            self.end()

    def lose(self, producer: str, first: int, last: int, count: int, reason: DropReason) -> None:
        """Take that payloads are gone of which no more is known, and tell it at once."""
        now = wall_us()
        self.drop_range(producer, first, last, count, now, now, reason)
        self.end()

    def end(self) -> None:
        """Tell of the episode that goes on, if one does: there is room again, or nothing more will come."""
        episode, self._episode = self._episode, None
        if episode is None:
            return
        first, last = episode.first, episode.last
        self._publish(
            FramesDropped(
                telemetry_id=self._label,
                reason=episode.reason,
                producer=episode.producer,
                count=episode.count,
                first_seq=first,
                last_seq=last,
            )
        )
        self._publish(
            GapFound(
                telemetry_id=self._label,
                feed=self._feed,
                cause=_CAUSES.get(episode.reason, "dropped"),
                from_us=episode.from_us,
                to_us=episode.to_us,
                producer=episode.producer,
                last_seq=max(0, first - 1),
                position=episode.position,
                count=episode.count,
                detail=f"{episode.reason}: numbers {first} to {last}",
            )
        )
