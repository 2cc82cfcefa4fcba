"""Percentiles of what was measured over the last seconds, in constant memory.

The rule: pure; ``now`` is passed in. Values fall into buckets that grow by 5 %, so an answer is within 2.5 %.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence

#: Seconds over which percentiles are taken.
WINDOW = 10.0

#: The smallest value that is told apart from nothing, and how much wider each bucket is than the one before.
_SMALLEST = 0.01
_GROWTH = math.log(1.05)


class LagWindow:
    """Values (milliseconds, say) recorded over the last ``seconds``, one counter of buckets a second."""

    __slots__ = ("_seconds", "_slots")

    def __init__(self, seconds: float = WINDOW) -> None:
        self._seconds = seconds
        self._slots: deque[tuple[int, Counter[int]]] = deque()

    def record(self, value: float, now: float) -> None:
        """Count one value at ``now``, seconds of a clock that never goes back; below zero counts as zero."""
        second = int(now)
        if not self._slots or self._slots[-1][0] != second:
            self._slots.append((second, Counter()))
            self._forget(now)
        self._slots[-1][1][_bucket(value)] += 1

    def percentiles(self, shares: Sequence[float], now: float) -> list[float] | None:
        """Return for each share (0.5, 0.99) the value that so many of the window stay below; None where it is empty."""
        self._forget(now)
        counts: Counter[int] = Counter()
        for _, slot in self._slots:
            counts.update(slot)
        if not counts:
            return None
        buckets = sorted(counts.items())
        return [_at_rank(buckets, math.ceil(share * counts.total())) for share in shares]

    def _forget(self, now: float) -> None:
        while self._slots and self._slots[0][0] <= now - self._seconds - 1:
            self._slots.popleft()


def _bucket(value: float) -> int:
    return 0 if value <= _SMALLEST else 1 + round(math.log(value / _SMALLEST) / _GROWTH)


def _at_rank(buckets: Sequence[tuple[int, int]], rank: int) -> float:
    seen = 0
    for bucket, count in buckets:
        seen += count
        if seen >= rank:
            return _value(bucket)
    return _value(buckets[-1][0])


def _value(bucket: int) -> float:
    return 0.0 if bucket == 0 else _SMALLEST * math.exp((bucket - 1) * _GROWTH)
