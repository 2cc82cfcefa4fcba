"""Folds what repeats: the first of a kind are told at once, what comes on top is counted, and summed up once a minute.

The rule: pure, and nothing is left out in silence: whatever was not told by itself is in the next summary, at the latest when the
storm is over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

#: So many of one kind are told one by one within `WINDOW` seconds, which is also how often a storm is summed up.
BURST = 10
WINDOW = 60.0

#: Seconds without another after which a storm is over.
CALM = 20.0


@dataclass(frozen=True, slots=True)
class Summary(Generic[T]):
    """What was not told by itself: how many in how many ``seconds``, and the last of them.

    ``amount`` is the sum of what each stands for, where it stands for several; None where it does not.
    """

    last: T
    times: int
    seconds: float
    amount: int | None


class _Storm(Generic[T]):
    """One kind, from the first of a window on; ``told``: how many of it were told one by one."""

    __slots__ = ("_amount", "_at", "_last", "_times", "began", "told")

    def __init__(self, now: float, told: int = 0) -> None:
        self.began = now
        self.told = told
        self._times = 0
        self._amount: int | None = None
        self._last: T | None = None
        self._at = now

    def fold(self, each: T, amount: int | None, now: float) -> None:
        self._times += 1
        self._last, self._at = each, now
        if amount is not None:
            self._amount = (self._amount or 0) + amount

    def is_due(self, now: float) -> bool:
        return now - self.began >= WINDOW or (self._times > 0 and now - self._at >= CALM)

    def goes_on(self, now: float) -> bool:
        """Tell whether something was folded, lately: then what comes next is folded from the first on."""
        return self._times > 0 and now - self._at < CALM

    def summary(self, now: float) -> list[Summary[T]]:
        """Return the one summary there is, or none."""
        if self._last is None:
            return []
        return [Summary(self._last, self._times, round(now - self.began, 1), self._amount)]


class Storms(Generic[T]):
    """One fold for each key (a kind of event of one feed); ``now`` is in monotonic seconds.

    Parameters:
      amount: how many of something one stands for (the payloads of a drop), or None.
    """

    def __init__(self, amount: Callable[[T], int | None] = lambda each: None) -> None:
        self._amount = amount
        self._storms: dict[object, _Storm[T]] = {}

    def take(self, key: object, each: T, now: float) -> tuple[list[Summary[T]], bool]:
        """Return the summary that is due before it, if one is, and whether ``each`` is to be told by itself."""
        due = self._turn(key, now)
        storm = self._storms.setdefault(key, _Storm(now))
        if storm.told < BURST:
            storm.told += 1
            return due, True
        storm.fold(each, self._amount(each), now)
        return due, False

    def due(self, now: float) -> list[Summary[T]]:
        """Return what is due; to be asked every few seconds, since a storm ends without a sign."""
        return [summary for key in list(self._storms) for summary in self._turn(key, now)]

    def end(self, now: float) -> list[Summary[T]]:
        """Return the summaries of all that is folded still: nothing more will come."""
        found = [summary for storm in self._storms.values() for summary in storm.summary(now)]
        self._storms.clear()
        return found

    def _turn(self, key: object, now: float) -> list[Summary[T]]:
        """Close a window that is over, and open the next if the storm goes on."""
        storm = self._storms.get(key)
        if storm is None or not storm.is_due(now):
            return []
        if storm.goes_on(now):
            self._storms[key] = _Storm(now, told=BURST)
        else:
            del self._storms[key]
        return storm.summary(now)
