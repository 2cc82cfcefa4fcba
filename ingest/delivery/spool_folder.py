"""A folder of spools: which slot a process gets, and what it takes over of processes that are gone.

The rule: a file that a running process has, or that holds what others have to send, is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ingest.delivery.spool import Spool
from ingest.delivery.spool_file import Fsync
from ingest.delivery.spool_lock import SlotLock, lock_lowest, slots_in_use, try_lock
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


def acquire(directory: Path, feed: str, *, max_bytes: int, fsync: Fsync, owner: str = "") -> Spool:
    """Open the lowest slot of a feed that no running process has.

    ``owner`` says whose feed it is, of all that may have one of this name; `SpoolForeign` if that slot holds others' messages.
    """
    return _opened(lock_lowest(directory, feed), max_bytes, fsync, owner)


def adopt(
    directory: Path,
    feed: str,
    *,
    max_bytes: int,
    fsync: Fsync,
    owner: str = "",
    refusals: Refusals | None = None,
) -> list[Spool]:
    """Open every other slot that ended processes have left something in, lowest first; ``refusals`` is for those of others."""
    refusals = refusals or Refusals()
    adopted: list[Spool] = []
    try:
        for slot in slots_in_use(directory, feed):
            lock = try_lock(directory, feed, slot)
            if lock is None:
                continue
            if not lock.path.exists() or refusals.has(lock.path):  # its owner has just removed it, or is another
                lock.release()
                continue
            try:
                spool = _opened(lock, max_bytes, fsync, owner)
            except SpoolForeign as error:
                refusals.add(lock.path, error)
                continue
            if spool.producers() or spool.holds_gaps or spool.set_aside_at_open:
                adopted.append(spool)
            else:
                spool.close()
    except SpoolError:
        for spool in adopted:
            spool.close()
        raise
    return adopted


def _version(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size


def _opened(lock: SlotLock, max_bytes: int, fsync: Fsync, owner: str) -> Spool:
    try:
        return Spool(lock, max_bytes=max_bytes, fsync=fsync, owner=owner)
    except BaseException:
        lock.release()
        raise
