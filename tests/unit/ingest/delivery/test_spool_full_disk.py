"""A spool on a disk that is really full: what it refuses, what it still can do, and that it comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.delivery.ballast import disk_of
from ingest.delivery.spool import Spool
from ingest.errors import SpoolError, SpoolFull
from tests.support.spools import entries, numbers, opened, read_all, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path) as folder:
        yield folder


def fill(spool: Spool, producer: str, first: int, chunk: int = 50, size: int = 400) -> int:
    """Append until the disk is full; return the last number stored."""
    while True:
        try:
            spool.append(producer, entries(first, first + chunk - 1, size=size))
        except SpoolFull:
            return first - 1
        first += chunk


def drain(spool: Spool, producer: str, after: int, step: int = 100) -> list[int]:
    """Read and confirm batch after batch, flushing as often."""
    drained: list[int] = []
    while batch := spool.read(producer, after, step, 1_000_000):
        drained += numbers(batch)
        after = batch[-1].last
        spool.confirm(producer, after)
        spool.flush()
    return drained


@pytest.mark.parametrize("chunk", [1, 50, 500])
def test_filled_drained_filled(disk, chunk):
    spool = opened(disk, "p")
    last = 0
    held = []
    for _ in range(4):
        begin, last = last, fill(spool, "p", last + 1, chunk)
        held.append(last - begin)
        assert drain(spool, "p", begin) == list(range(begin + 1, last + 1))
        assert (spool.size, read_all(spool, "p", last)) == (0, [])
    assert held[0] * 400 > 600_000  # a good part of the disk
    assert min(held[1:]) > held[0] / 2  # and it came back
    spool.close()


def test_what_is_refused_is_not_stored_and_what_was_stored_stays(disk):
    spool = opened(disk, "p")
    last = fill(spool, "p", 1)
    for _ in range(20):
        with pytest.raises(SpoolFull):
            spool.append("p", entries(last + 1, last + 500, size=400))
    assert numbers(read_all(spool, "p")) == list(range(1, last + 1))
    spool.close()
    again = opened(disk)
    assert numbers(read_all(again, "p")) == list(range(1, last + 1))
    again.close()


def test_a_full_disk_takes_what_the_protocol_needs(disk):
    spool = opened(disk, "p")
    last = fill(spool, "p", 1)
    spool.add("q")
    spool.lead("q", 7)
    spool.mark_late(["p"])
    spool.save_gaps([b"{}"])
    spool.append("q", entries(1, 20, size=400), final=True)
    spool.close()
    again = opened(disk)
    assert [(one.id, one.epoch, one.late, one.last) for one in again.producers()] == [
        ("p", None, True, last),
        ("q", 7, False, 20),
    ]
    assert again.take_gaps() == [b"{}"]
    again.close()


def test_somebody_else_fills_the_disk_to_the_last_byte_and_leaves_it_so(disk):
    spool = opened(disk, "p")
    last = fill(spool, "p", 1)
    greedy = disk / "somebody-else"
    spool._file.ballast.drop()
    with greedy.open("wb") as file:
        while disk_of(disk).free:
            try:
                file.write(bytes(disk_of(disk).free))
                file.flush()
            except OSError:
                break
    assert disk_of(disk).free < 4096
    assert drain(spool, "p", 0) == list(range(1, last + 1))
    # Logically empty, so that the file was begun anew at the latest.
    assert spool.size == 0
    assert disk_of(disk).free > 100_000
    assert [one.confirmed for one in spool.producers()] == [last]
    spool.append("p", entries(last + 1, last + 10), final=True)
    assert numbers(read_all(spool, "p", last)) == list(range(last + 1, last + 11))
    spool.close()


def test_a_spool_cannot_be_begun_on_a_full_disk_and_says_so(disk):
    (disk / "somebody-else").write_bytes(bytes(disk_of(disk).free - 8192))
    with pytest.raises(SpoolError, match="full"):
        opened(disk, "p")
    os.unlink(disk / "somebody-else")
    opened(disk, "p").close()  # and the slot is free again


def test_the_ballast_is_made_again_when_there_is_room(disk):
    spool = opened(disk, "p")
    ballast = spool.path.with_suffix(".ballast")
    assert ballast.stat().st_size == disk_of(disk).total // 16
    last = fill(spool, "p", 1)
    spool.save_gaps([b"x" * 1000] * 20)  # takes the ballast
    assert not ballast.exists()
    with pytest.raises(SpoolFull, match="the disk is full"):  # what is free now is kept for deleting
        spool.append("p", entries(last + 1, last + 1))
    drain(spool, "p", 0)
    assert ballast.stat().st_size == disk_of(disk).total // 16
    spool.close()
    assert not ballast.exists()
