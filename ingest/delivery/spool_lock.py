"""Which process owns which slot of a feed's spool: one lock file for each.

The rule: a lock file is never unlinked. Else one process could hold the lock of a name that is gone while another locks the new
one; and the lock is not SQLite's own, which vanishes when anything in the process opens and closes the file.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from ingest.clock import Monotonic, monotonic
from ingest.errors import SpoolUnusable

#: More supervisors than that do not share a feed; something else holds the locks.
MOST_SLOTS = 100

#: Seconds for which one listing of a folder is good: less than the pause between two looks of a feed.
LISTING_AGE = 0.2

_NAME = re.compile(r"(.+)\.(0|[1-9]\d*)\.spool", re.DOTALL)


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


def try_lock(directory: Path, feed: str, slot: int) -> SlotLock | None:
    """Lock this slot; None if another process has it."""
    try:
        fd = os.open(directory / f"{feed}.{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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


class Listing:
    """The slots in one folder that have a database, of all feeds: it is listed once for all who ask within a moment."""

    def __init__(self, directory: Path, clock: Monotonic = monotonic) -> None:
        self.directory = directory
        self._clock = clock
        self._lock = Lock()
        self._slots: Mapping[str, Sequence[int]] = {}
        self._listed_at: float | None = None

    def slots(self, feed: str) -> Sequence[int]:
        """Return the slots of a feed, lowest first; `SpoolUnusable` if the folder cannot be listed."""
        with self._lock:
            now = self._clock()
            if self._listed_at is None or now - self._listed_at >= LISTING_AGE:
                self._slots, self._listed_at = slots_in(self.directory), now
            return self._slots.get(feed, ())


def slots_in(directory: Path) -> dict[str, list[int]]:
    """Return the slots that have a database, lowest first, by their feeds."""
    try:
        names = os.listdir(directory)
    except OSError as error:
        raise SpoolUnusable(str(directory), f"cannot be listed: {error.strerror}") from error
    found: dict[str, list[int]] = {}
    for name in names:
        match = _NAME.fullmatch(name) if name.endswith(".spool") else None
        if match is not None:
            found.setdefault(match[1], []).append(int(match[2]))
    return {feed: sorted(slots) for feed, slots in found.items()}
