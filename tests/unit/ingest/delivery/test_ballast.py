"""The ballast: its size, when it is made, and that it never takes the last of a disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ingest.delivery.ballast import MOST, Ballast, disk_of
from tests.support.spools import small_disk


def test_a_large_disk_has_four_mebibytes_of_it(tmp_path):
    ballast = Ballast(tmp_path / "x.ballast")
    assert (ballast.size, ballast.there) == (MOST, False)
    ballast.make()
    assert (ballast.there, (tmp_path / "x.ballast").stat().st_size) == (True, MOST)
    assert Ballast(tmp_path / "x.ballast").there  # what a killed process has left
    ballast.drop()
    assert (ballast.there, list(tmp_path.iterdir())) == (False, [])
    ballast.drop()


@pytest.mark.parametrize("promised", ["refused", "nothing"])
def test_where_the_file_system_only_promises_space_it_is_written(tmp_path, monkeypatch, promised):
    def fallocate(fd: int, offset: int, size: int) -> None:
        if promised == "refused":
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        os.ftruncate(fd, size)

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    Ballast(tmp_path / "x.ballast").make()
    stat = (tmp_path / "x.ballast").stat()
    assert stat.st_size == MOST
    assert len(set((tmp_path / "x.ballast").read_bytes()[:4096])) > 100, "nothing that could be stored as a hole"


def test_its_space_is_really_taken_and_it_is_for_its_owner_alone(tmp_path):
    Ballast(tmp_path / "x.ballast").make()
    stat = (tmp_path / "x.ballast").stat()
    assert stat.st_blocks * 512 >= MOST
    assert stat.st_mode & 0o077 == 0


def test_a_file_of_another_size_is_none(tmp_path):
    (tmp_path / "x.ballast").write_bytes(b"half")
    ballast = Ballast(tmp_path / "x.ballast")
    assert not ballast.there
    ballast.make()
    assert (tmp_path / "x.ballast").stat().st_size == MOST


def test_a_small_disk_has_a_sixteenth_and_only_while_as_much_again_is_free(tmp_path):
    with small_disk(tmp_path) as disk:
        ballast = Ballast(disk / "x.ballast")
        assert ballast.size == disk_of(disk).total // 16
        other = disk / "other"
        other.write_bytes(bytes(disk_of(disk).free - 2 * ballast.size + 4096))
        ballast.make()
        assert not ballast.there
        other.unlink()
        ballast.make()
        assert ballast.there


def test_a_folder_that_is_gone_and_a_disk_that_is_read_only_by_now_raise_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "spool"
    folder.mkdir()
    ballast = Ballast(folder / "x.ballast")
    folder.rmdir()
    ballast.make()
    ballast.drop()
    assert not ballast.there
    folder.mkdir()
    ballast.make()

    def refuse(path: Path, **options: bool) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    ballast.drop()
    assert not ballast.there
