"""What dead processes leave in a feed's folder: found without touching the disk, opened once, and given back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.delivery import spool_folder
from ingest.delivery.spool_lock import try_lock
from ingest.errors import SpoolUnusable
from tests.support.spools import crash, folder_of, opened


def leave(folder: Path, *producers: str) -> None:
    """Leave a slot for each producer, as processes do that are killed at once."""
    spools = [opened(folder, producer) for producer in producers]
    for spool in spools:
        crash(spool)


def is_free(folder: Path, slot: int) -> bool:
    lock = try_lock(folder, "trades", slot)
    if lock is not None:
        lock.release()
    return lock is not None


def test_what_is_found_is_ours_until_it_is_adopted_or_let_go_of(tmp_path: Path) -> None:
    leave(tmp_path, "a", "b")
    folder = folder_of(tmp_path)
    assert folder.look()
    assert folder.look(), "it is still there"
    assert [is_free(tmp_path, slot) for slot in (0, 1)] == [False, False]
    assert not folder_of(tmp_path).look()
    folder.close()
    assert [is_free(tmp_path, slot) for slot in (0, 1)] == [True, True]
    folder.look()
    spools = folder.adopt()
    assert [[one.id for one in spool.producers()] for spool in spools] == [["a"], ["b"]]
    assert (folder.look([0, 1]), folder.adopt()) == (False, [])
    for spool in spools:
        spool.close()


def test_a_look_opens_no_database_and_tries_no_lock_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tmp_path, "a", "b", "c")
    before = {path.name: path.stat().st_atime_ns for path in tmp_path.glob("*.spool")}
    tried: list[int] = []
    lock = spool_folder.try_lock

    def noted(directory: Path, feed: str, slot: int) -> object:
        tried.append(slot)
        return lock(directory, feed, slot)

    monkeypatch.setattr(spool_folder, "try_lock", noted)
    folder = folder_of(tmp_path)
    assert folder.look(held=[0, 2])
    assert tried == [1]
    assert {path.name: path.stat().st_atime_ns for path in tmp_path.glob("*.spool")} == before
    folder.close()


def test_a_slot_whose_owner_has_just_removed_it_is_none(tmp_path: Path) -> None:
    leave(tmp_path, "a")
    folder = folder_of(tmp_path)
    folder._listing.slots("trades")
    os.unlink(tmp_path / "trades.0.spool")
    assert not folder.look()
    assert is_free(tmp_path, 0)


def test_one_that_cannot_be_opened_leaves_all_to_the_next_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tmp_path, "a", "b", "c")
    folder = folder_of(tmp_path)
    open_spool = spool_folder.opened

    def refuse(lock: object, **options: object) -> object:
        if lock.slot == 1:  # type: ignore[attr-defined]
            lock.release()  # type: ignore[attr-defined]
            raise SpoolUnusable("x", "for the test")
        return open_spool(lock, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as broken:
        broken.setattr(spool_folder, "opened", refuse)
        assert folder.look()
        with pytest.raises(SpoolUnusable):
            folder.adopt()
    assert [is_free(tmp_path, slot) for slot in (0, 1, 2)] == [True, True, True]
    assert folder.look()
    for spool in folder.adopt():
        spool.close()
