"""How far a leader is, as it tells whoever may come after it: since when frames may be missing, and the place that is safe.

The rule: what is told is never newer than what is safe; older costs the successor a wider gap, newer would hide one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from ingest.clock import wall_us
from ingest.delivery.backlog import Backlog
from ingest.service.tenure import Tenure


class Progress:
    """What one feed's process says of itself with every renewal.

    Parameters:
      places: what the session said of its place, as JSON, by the number of the emission it goes with; oldest first.
      missing_since: when the gap that is open began (wall-clock microseconds); None if none is.
      unread_since: since when what comes is not read: a full backlog, a callback that takes its time; None while it is.
      unrecorded_since: each when what is lost and not recorded yet began; None if nothing is. They are asked last and in this
        order, which is the way to a record.
    """

    def __init__(
        self,
        backlog: Backlog,
        tenure: Tenure,
        *,
        places: deque[tuple[int, str]] | None = None,
        missing_since: Callable[[], int | None] = lambda: None,
        unread_since: Callable[[], int | None] = lambda: None,
        unrecorded_since: Sequence[Callable[[], int | None]] = (),
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self._backlog = backlog
        self._tenure = tenure
        self._places = places if places is not None else deque()
        self._missing_since = missing_since
        self._unread_since = unread_since
        self._unrecorded_since = unrecorded_since
        self._wall = wall
        self._ended_us: int | None = None

    def end(self) -> None:
        """Take that nothing more is read from now on."""
        self._ended_us = self._wall()

    def safe_us(self) -> int:
        """Return the moment before which all that there was to read is in its queue, on disk, or in the record of a gap.

        In wall-clock microseconds.

        At an end all that waits is brought there, or told as lost: then it is the moment at which reading stopped, which may
        have been long before.
        """
        waiting = self._backlog.oldest_us if self._ended_us is None else self._ended_us
        moments = [waiting, self._missing_since(), self._unread_since(), self._tenure.unused_since]
        moments += [since() for since in self._unrecorded_since]
        return min([moment for moment in moments if moment is not None], default=self._wall())

    def position(self) -> str:
        """Return the newest place of which everything up to it is safe, as JSON; "" if there is no new one."""
        chain, newest = self._tenure.chain, ""
        if chain is not None:
            settled = self._backlog.settled(chain)
            with suppress(IndexError):  # emptied by the feed's thread, for another tenure
                while self._places[0][0] <= settled:
                    newest = self._places.popleft()[1]
        return newest
