"""What the processes of one feed leave in the folder that they share, for whoever finds it.

The rule: to look costs no disk, since a process that stands by looks four times a second; only what it found free is opened.
"""

from __future__ import annotations

from collections.abc import Collection

from ingest.delivery.spool import Spool, opened
from ingest.delivery.spool_file import Fsync
from ingest.delivery.spool_lock import Listing, SlotLock, lock_lowest, try_lock
from ingest.errors import SpoolError


class SpoolFolder:
    """The slots of one feed in a folder."""

    def __init__(self, listing: Listing, feed: str, *, max_bytes: int, fsync: Fsync) -> None:
        self._listing = listing
        self._feed = feed
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._found: list[SlotLock] = []

    def acquire(self) -> Spool:
        """Open the lowest slot that no running process has."""
        return self._open(lock_lowest(self._listing.directory, self._feed))

    def look(self, held: Collection[int] = ()) -> bool:
        """Lock what ended processes have left, in other slots than those ``held``; tell whether there is something to `adopt`.

        Raises `SpoolUnusable` if the folder is of no use any more.
        """
        for slot in self._listing.slots(self._feed):
            lock = try_lock(self._listing.directory, self._feed, slot) if slot not in held else None
            if lock is None:
                continue
            if lock.path.exists():
                self._found.append(lock)
            else:  # its owner has just removed it
                lock.release()
        return bool(self._found)

    def adopt(self) -> list[Spool]:
        """Open what was found, lowest slot first; what turns out to be empty is removed. Raises a `SpoolError`."""
        adopted: list[Spool] = []
        try:
            while self._found:
                spool = self._open(self._found.pop(0))
                if spool.producers() or spool.holds_gaps or spool.set_aside_at_open:
                    adopted.append(spool)
                else:
                    spool.close()
        except SpoolError:
            for spool in adopted:
                spool.close()
            self.close()
            raise
        return adopted

    def close(self) -> None:
        """Let go of what was found and not adopted."""
        while self._found:
            self._found.pop().release()

    def _open(self, lock: SlotLock) -> Spool:
        return opened(lock, max_bytes=self._max_bytes, fsync=self._fsync)
