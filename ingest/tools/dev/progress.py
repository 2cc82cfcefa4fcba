"""The numbers of a run, made from the snapshots that its processes publish.

The rule: pure; counts are summed over the last snapshot of every process that was ever seen, rates are differences between two
snapshots of one process by its own clock, and a process that has fallen silent has no rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: A snapshot as `ingest.broker.status` stores it.
Snapshot = Mapping[str, Any]

#: Seconds after which a process that publishes every second counts as silent.
_SILENT = 5.0


@dataclass(frozen=True, slots=True)
class FeedNumbers:
    """One feed over all processes: counts since the start, rates per second, lag in milliseconds (the slowest worker's)."""

    name: str
    state: str = "-"
    queue: str = ""
    frames: int = 0
    emitted: int = 0
    enqueued: int = 0
    dropped: int = 0
    lost: int = 0
    reconnects: int = 0
    processed: int = 0
    failed: int = 0
    depth: int = 0
    dead: int = 0
    frames_rate: float = 0.0
    processed_rate: float = 0.0
    lag_p50: float | None = None
    lag_p99: float | None = None
    last_reason: str | None = None

    @property
    def ready(self) -> bool:
        return self.state == "READY"


@dataclass(frozen=True, slots=True)
class Totals:
    """All feeds together."""

    frames: int
    emitted: int
    enqueued: int
    processed: int
    dropped: int
    lost: int
    reconnects: int

    def __str__(self) -> str:
        return (
            f"frames={self.frames} enqueued={self.enqueued} processed={self.processed} "
            f"dropped={self.dropped} reconnects={self.reconnects}"
        )


class Progress:
    """Takes snapshots as they are read, any number of times, in any order; answers with numbers."""

    def __init__(self, feeds: Iterable[str] = ()) -> None:
        self._feeds = tuple(feeds)
        self._last: dict[str, Snapshot] = {}
        self._before: dict[str, Snapshot] = {}

    def take(self, snapshots: Iterable[Snapshot]) -> None:
        """Remember the newest snapshot of every process, and the one before."""
        for snapshot in snapshots:
            known = self._last.get(snapshot["id"])
            if known is None or snapshot["at"] > known["at"]:
                if known is not None:
                    self._before[snapshot["id"]] = known
                self._last[snapshot["id"]] = snapshot

    def seen(self, kind: str) -> bool:
        """Say whether a process of that kind ("supervisor", "worker") has published anything."""
        return any(snapshot["kind"] == kind for snapshot in self._last.values())

    def final(self, kind: str) -> bool:
        """Say whether every process of that kind has published its last word."""
        return all(snapshot["final"] for snapshot in self._last.values() if snapshot["kind"] == kind)

    def queues(self) -> set[str]:
        """Return the names of all queues that the supervisors have written to."""
        return {queue for snapshot in self._last.values() for queue in snapshot.get("queues", ())}

    def feeds(self, now: float) -> list[FeedNumbers]:
        """Return every feed's numbers; ``now`` is wall-clock seconds, as in the snapshots."""
        names = dict.fromkeys(self._feeds)
        for snapshot in self._last.values():
            names |= dict.fromkeys(snapshot["feeds"])
        return [self._feed(name, now) for name in names]

    def totals(self) -> Totals:
        """Return the sums over all feeds."""
        feeds = self.feeds(0.0)
        return Totals(
            frames=sum(feed.frames for feed in feeds),
            emitted=sum(feed.emitted for feed in feeds),
            enqueued=sum(feed.enqueued for feed in feeds),
            processed=sum(feed.processed for feed in feeds),
            dropped=sum(feed.dropped for feed in feeds),
            lost=sum(feed.lost for feed in feeds),
            reconnects=sum(feed.reconnects for feed in feeds),
        )

    def _feed(self, name: str, now: float) -> FeedNumbers:
        supervisors = [s for s in self._last.values() if s["kind"] == "supervisor" and name in s["feeds"]]
        workers = [s for s in self._last.values() if s["kind"] == "worker" and name in s["feeds"]]
        newest = max(supervisors, key=lambda s: float(s["at"]), default=None)
        about = newest["feeds"][name] if newest else {}
        queue = newest["queues"].get(about["queue"], {}) if newest else {}
        lags = [s["feeds"][name]["lag_ms"] for s in workers if not _silent(s, now) and s["feeds"][name].get("lag_ms")]
        return FeedNumbers(
            name,
            state=about.get("state", "-"),
            queue=about.get("queue", ""),
            frames=_sum(supervisors, name, "frames"),
            emitted=_sum(supervisors, name, "emitted"),
            enqueued=_sum(supervisors, name, "enqueued"),
            dropped=_sum(supervisors, name, "dropped"),
            lost=_sum(supervisors, name, "lost"),
            reconnects=_sum(supervisors, name, "reconnects"),
            processed=_sum(workers, name, "processed"),
            failed=_sum(workers, name, "failed"),
            depth=queue.get("depth", 0),
            dead=queue.get("dead", 0),
            frames_rate=self._rate(supervisors, name, "frames", now),
            processed_rate=self._rate(workers, name, "processed", now),
            lag_p50=max((lag["p50"] for lag in lags), default=None),
            lag_p99=max((lag["p99"] for lag in lags), default=None),
            last_reason=about.get("last_reason"),
        )

    def _rate(self, snapshots: Iterable[Snapshot], name: str, count: str, now: float) -> float:
        rate = 0.0
        for snapshot in snapshots:
            before = self._before.get(snapshot["id"])
            if before is None or _silent(snapshot, now):
                continue
            earlier = before["feeds"].get(name, {}).get(count, 0)
            rate += (snapshot["feeds"][name][count] - earlier) / (snapshot["at"] - before["at"])
        return rate


def _sum(snapshots: Iterable[Snapshot], name: str, count: str) -> int:
    return sum(int(snapshot["feeds"][name][count]) for snapshot in snapshots)


def _silent(snapshot: Snapshot, now: float) -> bool:
    return bool(snapshot["final"]) or now - snapshot["at"] > _SILENT
