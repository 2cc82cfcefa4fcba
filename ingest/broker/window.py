"""How many messages a process may have in hand: what Dramatiq says, and more while they are gone within milliseconds.

The rule: pure; ``now`` is passed in. What is in hand waits for this process's threads even if another's are free, so the window
holds a few hundredths of a second of work, unless Dramatiq's own number is more than that.
"""

from __future__ import annotations

#: Messages in hand at most; more brings nothing (benchmarks/workers.py).
MOST = 128

#: Half a window that was used up in fewer seconds makes it twice as large; one that took longer makes it half.
_FAST, _SLOW = 0.02, 0.1


class Window:
    """The number of messages in hand of one consumer.

    Parameters:
      least: Dramatiq's prefetch, below which it never goes.
      most: where growing ends; not above ``least`` for a window that stays as it is.
    """

    __slots__ = ("_full", "_least", "_most", "_since", "size")

    def __init__(self, least: int, most: int = MOST) -> None:
        self.size = least
        self._least = least
        self._most = max(least, most)
        self._full = False
        self._since = 0.0

    @property
    def refill_at(self) -> int:
        """Return the number in hand at which more is fetched: early enough that no thread waits for it."""
        return self.size // 2 if self.size > self._least else min(self.size - 1, self.size * 3 // 4)

    def fetched(self, full: bool, now: float) -> None:
        """Take note of a fetch; ``full`` if the queue had as many messages as it was asked for."""
        took = now - self._since
        if self._full and full and took < _FAST:
            self.size = min(self._most, self.size * 2)
        elif took > _SLOW:
            self.size = max(self._least, self.size // 2)
        self._full, self._since = full, now
