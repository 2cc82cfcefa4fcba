"""How long to wait, and for what: backoff after an error, and the low watermark of a full queue.

The rule: pure; time and chance are passed in, seconds come out.
"""

from __future__ import annotations

from collections.abc import Callable

#: Seconds before the first new attempt after an error, and between attempts at most.
FIRST_BACKOFF = 0.05
LONGEST_BACKOFF = 2.0

#: Seconds between two looks at the depth of a full queue.
POLL_INTERVAL = 0.075

#: A full queue that others keep above its low watermark: go on after so many seconds without a new minimum.
STEADY_SECONDS = 5.0


class Backoff:
    """Doubles from one attempt to the next, with jitter that survives the cap."""

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._attempts = 0

    @property
    def attempts(self) -> int:
        """How many attempts there were since the last `reset`."""
        return self._attempts

    def next(self) -> float:
        """Return the seconds to wait before the next attempt."""
        ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(self._attempts, 16))
        self._attempts += 1
        return self._uniform(ceiling / 2, ceiling)

    def reset(self) -> None:
        """Begin again: something went well."""
        self._attempts = 0


class FullQueue:
    """A queue that had no room: tells from its depth when to go on, by the watermarks of that moment."""

    def __init__(self, depth: int, now: float) -> None:
        self._minimum = depth
        self._minimum_at = now

    def drained(self, depth: int, now: float, *, low: int, high: int) -> bool:
        """Tell whether to go on: at the low watermark, or when others hold the queue steady somewhere below the high one."""
        if depth < self._minimum:
            self._minimum, self._minimum_at = depth, now
        return depth <= low or (depth < high and now - self._minimum_at >= STEADY_SECONDS)
