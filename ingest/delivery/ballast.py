"""A file of nothing beside a spool, to be freed when its disk is so full that SQLite cannot even delete.

The rule: it never takes what others need: at most 4 MiB, a sixteenth of a small disk, and only where that much again stays free;
and once there, it raises nothing: a disk that refuses is told of by whoever needs it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MOST = 4 * 1024 * 1024

#: What ``st_blocks`` counts in, whatever the file system's own blocks are.
_BLOCK = 512


class Disk(NamedTuple):
    """Bytes of a file system: all of it, and what is free for us."""

    total: int
    free: int


def disk_of(directory: Path) -> Disk:
    """Return what the file system of this folder says."""
    found = os.statvfs(directory)
    return Disk(found.f_frsize * found.f_blocks, found.f_frsize * found.f_bavail)


class Ballast:
    """The file, whether it is there or not; ``size`` is what it has when it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = min(MOST, disk_of(path.parent).total // 16)
        self.there = path.exists() and path.stat().st_size == self.size

    def make(self) -> None:
        """Write the file, if it is not there and the disk has room."""
        if self.there:
            return
        try:
            if disk_of(self._path.parent).free < 2 * self.size:
                return
            self._path.touch(mode=0o600)
            self._fill()
            self.there = True
        except OSError:
            self.drop()

    def _fill(self) -> None:
        """Take the space: without a byte to write where the file system can, since a hundred feeds may begin at once."""
        with self._path.open("r+b") as file:
            with suppress(OSError, AttributeError):  # not every file system and platform has it
                os.posix_fallocate(file.fileno(), 0, self.size)
            stat = os.fstat(file.fileno())
            if stat.st_size == self.size and stat.st_blocks * _BLOCK >= self.size:
                return
            # Random, because some file systems store nothing for zeros, nor for what is promised only.
            file.truncate(0)
            file.write(os.urandom(self.size))

    def drop(self) -> None:
        """Give its space to whoever needs it now."""
        self.there = False
        with suppress(OSError):  # a file system that has become read-only, say: then there is nothing to give
            self._path.unlink(missing_ok=True)
