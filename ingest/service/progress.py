"""How far a leader is, as it tells whoever may come after it: since when frames may be missing, and the place that is safe.

The rule: what is told is never newer than what is safe; older costs the successor a wider gap, newer would hide one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ingest.clock import wall_us
from ingest.delivery.backlog import Backlog
from ingest.service.tenure import Tenure

#: Positions remembered until what they stand for is safe; one is taken at every renewal.
_MOST_PLACES = 1000


class _Place(NamedTuple):
    producer: str
    seq: int
    position: str


class Progress:
    """What one feed's process says of itself with every renewal.

    Parameters:
      position: what the session said of its place with the newest emission, as JSON; "" if nothing.
      emitted: the number of the newest emission.
      missing_since: when the gap that is open began (wall-clock microseconds); None if none is.
    """

    def __init__(
        self,
        backlog: Backlog,
        tenure: Tenure,
        *,
        position: Callable[[], str] = lambda: "",
        emitted: Callable[[], int] = lambda: 0,
        missing_since: Callable[[], int | None] = lambda: None,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self._backlog = backlog
        self._tenure = tenure
        self._position = position
        self._emitted = emitted
        self._missing_since = missing_since
        self._wall = wall
        self._places: deque[_Place] = deque(maxlen=_MOST_PLACES)
        self._ended_us: int | None = None

    def end(self) -> None:
        """Take that nothing more is read from now on."""
        self._ended_us = self._wall()

    def safe_us(self) -> int:
        """Return the moment before which all that there was to read is in its queue, or on disk (wall-clock microseconds).

        At an end all that waits is brought there, or told as lost: then it is the moment at which reading stopped.
        """
        waiting = self._backlog.oldest_us if self._ended_us is None else self._ended_us
        moments = (waiting, self._missing_since(), self._tenure.unused_since)
        return min([moment for moment in moments if moment is not None], default=self._wall())

    def position(self) -> str:
        """Return the newest place of which everything up to it is safe; "" if that is not known."""
        chain = self._tenure.chain
        if chain is None:
            return ""
        position = self._position()  # before the number: then that is of this emission, or of a later one
        self._places.append(_Place(chain.producer, self._emitted(), position))
        settled, newest = self._backlog.settled(chain), ""
        while self._places and (self._places[0].producer != chain.producer or self._places[0].seq <= settled):
            newest = self._places.popleft().position
        return newest
