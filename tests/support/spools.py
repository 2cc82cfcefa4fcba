"""Spools of a test's own, and a disk that is really full."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from ingest.delivery.entry import Entry
from ingest.delivery.spool import Spool
from ingest.delivery.spool_file import Fsync
from ingest.delivery.spool_folder import SpoolFolder
from ingest.delivery.spool_lock import Listing

LARGE = 1 << 30


def entries(first: int, last: int, *, size: int = 10, queue: str = "trades") -> list[Entry]:
    """Return entries whose data says which they are."""
    return [Entry(n, n, queue, b"id%d" % n, (b"%d;" % n).ljust(size, b"x"), 1_000_000 + n) for n in range(first, last + 1)]


def opened(folder: Path, *producers: str, max_bytes: int = LARGE) -> Spool:
    """Return a spool of the feed ``trades`` that knows these producers."""
    spool = folder_of(folder, max_bytes=max_bytes).acquire()
    for producer in producers:
        spool.add(producer)
    return spool


def folder_of(path: Path, feed: str = "trades", *, max_bytes: int = LARGE, fsync: Fsync = "batch") -> SpoolFolder:
    """Return a feed's place in a folder that is listed anew each time."""
    return SpoolFolder(Listing(path, count().__next__), feed, max_bytes=max_bytes, fsync=fsync)


def adopted(path: Path) -> list[Spool]:
    """Open what dead processes of the feed ``trades`` left."""
    folder = folder_of(path)
    folder.look()
    return folder.adopt()


def read_all(spool: Spool, producer: str, after: int = 0, messages: int = 1000, size: int = 1_000_000) -> list[Entry]:
    """Read as the publisher does, batch after batch."""
    found: list[Entry] = []
    while batch := spool.read(producer, after, messages, size):
        found += batch
        after = batch[-1].last
    return found


def crash(spool: Spool) -> None:
    """Let go of the files without a word, as the end of a process does."""
    spool._file._connection.close()
    spool._lock.release()


def numbers(batch: list[Entry]) -> list[int]:
    return [entry.seq for entry in batch]


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "2m") -> Iterator[Path]:
    """Mount a disk of so many bytes; skip where that is not allowed."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], timeout=10, check=True)


@contextlib.contextmanager
def read_only_folder(folder: Path) -> Iterator[Path]:
    """Give a folder that we cannot write to: by its mode, or where we are root, by its mount."""
    if os.geteuid() == 0:
        with small_disk(folder, "1m,ro") as disk:
            yield disk
        return
    made = folder / "read-only"
    made.mkdir(mode=0o555)
    yield made
