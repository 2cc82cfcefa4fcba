"""Which process owns which slot of a feed's spool: one lock file for each.

The rule: a lock file is never unlinked. Else one process could hold the lock of a name that is gone while another locks the new
one; and the lock is not SQLite's own, which vanishes when anything in the process opens and closes the file.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ingest.errors import SpoolUnusable

#: More supervisors than that do not share a feed; something else holds the locks.
MOST_SLOTS = 100


class SlotLock:
    """The right to use one slot, held until `release` or the end of the process."""

    def __init__(self, directory: Path, feed: str, slot: int, fd: int) -> None:
        self.directory = directory
        self.feed = feed
        self.slot = slot
        self._fd = fd

    @property
    def path(self) -> Path:
        """The slot's database."""
        return self.directory / f"{self.feed}.{self.slot}.spool"

    @property
    def is_in_place(self) -> bool:
        """Whether the lock file still has its name; without that, the lock keeps nobody out."""
        try:
            found, ours = os.stat(_lock_path(self.directory, self.feed, self.slot)), os.fstat(self._fd)
        except OSError:
            return False
        return os.path.samestat(found, ours)

    def release(self) -> None:
        """Let others have the slot; the lock file stays."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def lock_lowest(directory: Path, feed: str) -> SlotLock:
    """Lock the lowest free slot; `SpoolUnusable` if the folder is of no use."""
    for slot in range(MOST_SLOTS):
        lock = try_lock(directory, feed, slot)
        if lock is not None:
            return lock
    raise SpoolUnusable(str(directory), f"all {MOST_SLOTS} slots of feed {feed} are taken by running processes")


def lock_unused(directory: Path, feed: str) -> SlotLock:
    """Lock the lowest free slot that has no database; `SpoolUnusable` if the folder is of no use."""
    for slot in range(MOST_SLOTS):
        lock = try_lock(directory, feed, slot)
        if lock is not None and not lock.path.exists():
            return lock
        if lock is not None:
            lock.release()
    raise SpoolUnusable(str(directory), f"all {MOST_SLOTS} slots of feed {feed} are in use")


def try_lock(directory: Path, feed: str, slot: int) -> SlotLock | None:
    """Lock this slot; None if another process has it."""
    try:
        fd = os.open(_lock_path(directory, feed, slot), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolUnusable(str(directory), f"no lock file can be opened: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError as error:
        os.close(fd)
        raise SpoolUnusable(str(directory), f"its file system has no locks: {error.strerror}") from error
    return SlotLock(directory, feed, slot, fd)


def _lock_path(directory: Path, feed: str, slot: int) -> Path:
    return directory / f"{feed}.{slot}.lock"


def slots_in_use(directory: Path, feed: str) -> Iterator[int]:
    """Yield the slots that have a database, lowest first."""
    name = re.compile(rf"{re.escape(feed)}\.(0|[1-9]\d*)\.spool")
    try:
        found = [name.fullmatch(entry) for entry in os.listdir(directory)]
    except OSError as error:
        raise SpoolUnusable(str(directory), f"cannot be listed: {error.strerror}") from error
    yield from sorted(int(match[1]) for match in found if match is not None)
