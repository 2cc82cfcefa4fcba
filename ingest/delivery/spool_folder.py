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
    refused: Callable[[SpoolForeign], None] = lambda error: None,
) -> list[Spool]:
    """Open every other slot that ended processes have left something in, lowest first; ``refused`` is told of those of others."""
    adopted: list[Spool] = []
    try:
        for slot in slots_in_use(directory, feed):
            lock = try_lock(directory, feed, slot)
            if lock is None:
                continue
            if not lock.path.exists():  # its owner has just removed it
                lock.release()
                continue
            try:
                spool = _opened(lock, max_bytes, fsync, owner)
            except SpoolForeign as error:
                refused(error)
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


def _opened(lock: SlotLock, max_bytes: int, fsync: Fsync, owner: str) -> Spool:
    try:
        return Spool(lock, max_bytes=max_bytes, fsync=fsync, owner=owner)
    except BaseException:
        lock.release()
        raise
