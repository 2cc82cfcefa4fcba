"""The clocks: monotonic seconds for every deadline, wall-clock microseconds for what is told to others.

The rule: no other module of the pure core asks for the time; it is passed in as ``now``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: A monotonic clock, in seconds.
Monotonic = Callable[[], float]

monotonic: Monotonic = time.monotonic


def wall_us() -> int:
    """Return the wall clock in microseconds since the epoch."""
    return time.time_ns() // 1000


class Deadline:
    """One budget of seconds over several steps."""

    __slots__ = ("_clock", "_end", "seconds")

    def __init__(self, seconds: float, clock: Monotonic = monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self._end - self._clock())

    @property
    def expired(self) -> bool:
        return self._clock() >= self._end
