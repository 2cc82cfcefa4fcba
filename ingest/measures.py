"""How long things take, how large they are, and whether loops still turn: kept where it happens, read by whoever shows it.

The rule: one thread writes each; a reader may be one value behind, and costs the writer nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ingest.clock import Monotonic, monotonic

#: Upper bounds in seconds, from what a callback takes to what a slow network does.
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Upper bounds of what comes in batches.
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


class Histogram:
    """Counts values by the smallest upper bound that is not below them; the last count is of what is above all.

    Attributes:
      bounds: the upper bounds, rising.
      sum: of all values.
    """

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def counts(self) -> list[int]:
        """How many values fell under each bound and above the one before; one more than there are bounds."""
        return self._counts[:]


class Pulse:
    """When a loop last came round.

    A loop that waits as long as nothing happens says so with `rest`: to wait is no illness, since every wait can be interrupted.
    """

    __slots__ = ("_at", "_clock")

    def __init__(self, clock: Monotonic = monotonic) -> None:
        self._clock = clock
        self._at: float | None = None

    def beat(self) -> None:
        """Note that the loop turns."""
        self._at = self._clock()

    def rest(self) -> None:
        """Note that the loop waits for something to happen, or is over."""
        self._at = None

    @property
    def silent_for(self) -> float:
        """Seconds since the last beat; 0 while it rests."""
        at = self._at
        return 0.0 if at is None else max(0.0, self._clock() - at)
