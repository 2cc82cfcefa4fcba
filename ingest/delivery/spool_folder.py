"""What the processes of one feed leave in the folder that they share, for whoever finds it.

The rule: to look costs no disk, since a process that stands by looks four times a second; only what it found free is opened, and
a file that holds what others have to send is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from ingest.delivery.spool import Spool, opened
from ingest.delivery.spool_file import Fsync
from ingest.delivery.spool_lock import Listing, SlotLock, lock_lowest, try_lock
from ingest.errors import SpoolError, SpoolForeign


class Refusals:
    """What was found in a folder and is none of ours; ``tell`` is called once for each file."""

    def __init__(self, tell: Callable[[SpoolForeign], None] = lambda error: None) -> None:
        self._tell = tell
        self._seen: dict[Path, tuple[int, int, int]] = {}

    def has(self, path: Path) -> bool:
        """Whether a file was refused and is the same as then: who stands by would open it several times a second."""
        return path in self._seen and self._seen[path] == _version(path)

    def add(self, path: Path, error: SpoolForeign) -> None:
        """Note a file that was refused."""
        if path not in self._seen:
            self._tell(error)
        self._seen[path] = _version(path)


class SpoolFolder:
    """The slots of one feed in a folder.

    ``owner`` says whose feed it is, of all that may have one of this name; ``refusals`` is for the files of others.
    """

    def __init__(
        self,
        listing: Listing,
        feed: str,
        *,
        max_bytes: int,
        fsync: Fsync,
        owner: str = "",
        refusals: Refusals | None = None,
    ) -> None:
        self._listing = listing
        self._feed = feed
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._owner = owner
        self.refusals = refusals or Refusals()
        self._found: list[SlotLock] = []

    def acquire(self) -> Spool:
        """Open the lowest slot that no running process has; `SpoolForeign` if it holds others' messages."""
        return self._open(lock_lowest(self._listing.directory, self._feed))

    def look(self, held: Collection[int] = ()) -> bool:
        """Lock what ended processes have left, in other slots than those ``held``; tell whether there is something to `adopt`.

        Raises `SpoolUnusable` if the folder is of no use any more.
        """
        for slot in self._listing.slots(self._feed):
            lock = try_lock(self._listing.directory, self._feed, slot) if slot not in held else None
            if lock is None:
                continue
            if lock.path.exists() and not self.refusals.has(lock.path):
                self._found.append(lock)
            else:  # its owner has just removed it, or is another
                lock.release()
        return bool(self._found)

    def adopt(self) -> list[Spool]:
        """Open what was found, lowest slot first; what turns out to be empty is removed. Raises a `SpoolError`."""
        adopted: list[Spool] = []
        try:
            while self._found:
                lock = self._found.pop(0)
                try:
                    spool = self._open(lock)
                except SpoolForeign as error:
                    self.refusals.add(lock.path, error)
                    continue
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
        return opened(lock, max_bytes=self._max_bytes, fsync=self._fsync, owner=self._owner)


def _version(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size
