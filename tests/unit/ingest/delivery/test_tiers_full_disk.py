"""A backlog whose disk is really full: it stops reading or gives up, loses nothing else, and goes on when there is room."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.delivery.backlog import Saved
from ingest.delivery.spool_file import SpoolFile
from ingest.errors import SpoolFull
from ingest.events import SpoolTrouble
from tests.support.backlogs import KeptBacklog
from tests.support.spools import entries, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path) as path:
        yield path


def fill(kept: KeptBacklog, first: int) -> int:
    """Put reads of ten until reading stops; return the last number."""
    while kept.backlog.has_room():
        kept.put(entries(first, first + 9, size=5000))
        first += 10
        assert first < 2000, "a disk of 2 MB is never full"
    return first - 1


@pytest.mark.parametrize("write_ahead", [False, True])
def test_filled_drained_and_filled_again_it_stops_and_goes_on_each_time(disk: Path, write_ahead: bool) -> None:
    kept = KeptBacklog(disk, messages=20, write_ahead=write_ahead)
    last, delivered = 0, list[int]()
    for _ in range(3):
        began, last = last, fill(kept, last + 1)
        assert last - began > 100, "most of the disk was used"
        while len(kept.backlog):
            delivered += kept.deliver_all()
            kept.tidy()
        kept.tidy()
        kept.tidy()
        assert kept.backlog.has_room()
    assert delivered == list(range(1, last + 1))
    assert kept.losses.total == 0


def test_stopped_while_it_is_full_what_is_in_memory_is_saved_too_or_counted(disk: Path) -> None:
    kept = KeptBacklog(disk, messages=20)
    last = fill(kept, 1)
    kept.take(5)
    saved = kept.backlog.save(keeps=True)
    assert saved == Saved(last - kept.losses.total, kept.losses.total)
    kept.backlog.close()
    again = KeptBacklog(disk, producer="q", epoch=2)
    delivered = again.deliver_all()
    told = {number for first, to, _ in kept.dropped() for number in range(first, to + 1)}
    assert delivered == [number for number in range(1, last + 1) if number not in told]


def test_giving_up_the_oldest_it_never_stops_and_every_message_is_delivered_or_told(disk: Path) -> None:
    kept = KeptBacklog(disk, messages=20, overflow="drop_oldest")
    for first in range(1, 1001, 10):
        kept.put(entries(first, first + 9, size=5000))
        assert kept.backlog.has_room()
    delivered = kept.deliver_all()
    kept.losses.end()
    assert delivered == sorted(set(delivered))
    assert delivered[:20] == list(range(1, 21)), "memory is not what is full"
    assert len(delivered) + kept.losses.total == 1000
    missing = set(range(1, 1001)) - set(delivered)
    assert all(any(first <= number <= to for first, to, _ in kept.dropped()) for number in missing)


def test_a_disk_that_becomes_read_only_or_goes_away_stops_the_reading_and_what_was_read_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Linux does it after an error of the disk: neither the database nor the ballast can be written any more."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def refuse_to_write(file: SpoolFile, *_: object) -> None:
        raise SpoolFull(str(file.path), "disk I/O error")

    kept = KeptBacklog(tmp_path, messages=20)
    with monkeypatch.context() as patched:
        patched.setattr(SpoolFile, "_transaction", refuse_to_write)
        for name in ("unlink", "write_bytes"):
            patched.setattr(Path, name, refuse)
        kept.put(entries(1, 20))
        kept.put(entries(21, 30))
        kept.put(entries(31, 40))
        assert not kept.backlog.has_room()
        assert kept.deliver_all() == list(range(1, 41))
        patched.setattr("ingest.delivery.ballast.os.statvfs", refuse)
        kept.tidy()
        kept.put(entries(41, 80))
        assert kept.deliver_all() == list(range(41, 81))
    assert kept.losses.total == 0
    assert kept.of(SpoolTrouble)
