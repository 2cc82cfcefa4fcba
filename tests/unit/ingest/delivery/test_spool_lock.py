"""Slots: the lowest free one, one owner, and a lock file that stays."""

from __future__ import annotations

import os

import pytest

from ingest.delivery import spool_lock
from ingest.delivery.spool_lock import LISTING_AGE, Listing, lock_lowest, slots_in, try_lock
from ingest.errors import SpoolUnusable
from tests.support.connections import ManualClock


def test_the_lowest_free_slot_is_taken(tmp_path):
    first, second, third = (lock_lowest(tmp_path, "trades") for _ in range(3))
    assert [lock.slot for lock in (first, second, third)] == [0, 1, 2]
    second.release()
    again = lock_lowest(tmp_path, "trades")
    assert (again.slot, again.path) == (1, tmp_path / "trades.1.spool")
    for lock in (first, third, again):
        lock.release()


def test_a_slot_has_one_owner_and_feeds_do_not_meet(tmp_path):
    lock = lock_lowest(tmp_path, "trades")
    assert try_lock(tmp_path, "trades", 0) is None
    other = lock_lowest(tmp_path, "trades.0")
    assert other.slot == 0
    lock.release()
    lock.release()
    taken = try_lock(tmp_path, "trades", 0)
    assert taken is not None
    taken.release()
    other.release()


def test_the_lock_file_is_never_unlinked_nor_replaced(tmp_path):
    lock = lock_lowest(tmp_path, "trades")
    before = (tmp_path / "trades.0.lock").stat().st_ino
    lock.release()
    lock_lowest(tmp_path, "trades").release()
    assert (tmp_path / "trades.0.lock").stat().st_ino == before
    assert (tmp_path / "trades.0.lock").stat().st_mode & 0o077 == 0


def test_the_lock_survives_that_anything_here_opens_and_closes_its_file(tmp_path):
    lock = lock_lowest(tmp_path, "trades")
    (tmp_path / "trades.0.lock").read_bytes()
    os.close(os.open(tmp_path / "trades.0.lock", os.O_RDWR))
    assert try_lock(tmp_path, "trades", 0) is None
    lock.release()


def test_the_slots_in_use_are_those_with_a_database(tmp_path):
    for name in ("trades.10.spool", "trades.2.spool", "trades.0.lock", "trades.x.spool", "trades.1.0.spool", "trades.02.spool",
                 "trades.3.spool-wal", "trades.4.spool.damaged-20260101T000000Z", "other.5.spool"):  # fmt: skip
        (tmp_path / name).touch()
    assert slots_in(tmp_path) == {"trades": [2, 10], "trades.1": [0], "other": [5]}


def test_a_folder_is_listed_once_for_all_who_ask_within_a_moment(tmp_path):
    clock = ManualClock()
    listing = Listing(tmp_path, clock)
    assert listing.slots("trades") == ()
    for name in ("trades.0.spool", "books.1.spool"):
        (tmp_path / name).touch()
    clock.now += LISTING_AGE * 0.9
    assert listing.slots("trades") == ()
    clock.now += LISTING_AGE * 0.2
    assert (listing.slots("trades"), listing.slots("books"), listing.slots("quotes")) == ([0], [1], ())
    (tmp_path / "trades.0.spool").unlink()
    assert listing.slots("trades") == [0]
    clock.now += LISTING_AGE
    assert listing.slots("trades") == ()


def test_a_folder_that_is_none_is_a_clear_problem(tmp_path):
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / "nothing", "No such file or directory"), (tmp_path / "file", "Not a directory")):
        with pytest.raises(SpoolUnusable, match=why):
            lock_lowest(folder, "trades")
        with pytest.raises(SpoolUnusable, match=why):
            Listing(folder).slots("trades")


def test_slots_end_somewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_lock, "MOST_SLOTS", 2)
    locks = [lock_lowest(tmp_path, "trades") for _ in range(2)]
    with pytest.raises(SpoolUnusable, match="all 2 slots of feed trades are taken"):
        lock_lowest(tmp_path, "trades")
    for lock in locks:
        lock.release()
