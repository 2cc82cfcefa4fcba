"""Files that somebody removes under a running process: what they hold is written anew, or does not count as kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ingest.delivery import spool_file
from ingest.delivery.places import LOOK_INTERVAL
from ingest.errors import SpoolFull
from ingest.events import FramesDropped, SpoolTrouble
from tests.support.backlogs import KeptBacklog
from tests.support.spools import crash, entries, opened, read_all


def left_in(folder: Path) -> list[int]:
    """Return the numbers that the next process finds."""
    spool = opened(folder)
    try:
        return [entry.seq for each in spool.producers() for entry in read_all(spool, each.id, each.confirmed)]
    finally:
        spool.close()


def spilling(folder: Path, last: int = 10, **options: object) -> KeptBacklog:
    """Return a backlog with 2 messages in memory and the others, up to ``last``, on disk."""
    kept = KeptBacklog(folder, messages=2, **options)  # type: ignore[arg-type]
    for number in range(1, last + 1):
        kept.put(entries(number, number))
    assert kept.backlog.unread == last - 2
    return kept


def let_it_look(kept: KeptBacklog) -> None:
    kept.clock.now += LOOK_INTERVAL
    kept.backlog.tidy()


def remove_file(folder: Path) -> None:
    for path in folder.glob("trades.0.spool*"):
        path.unlink()


def troubles(kept: KeptBacklog) -> list[str]:
    return [event.detail for event in kept.events if isinstance(event, SpoolTrouble)]


def test_a_removed_file_is_written_anew_told_once_and_survives_a_crash(tmp_path: Path) -> None:
    kept = spilling(tmp_path)
    remove_file(tmp_path)
    let_it_look(kept)
    let_it_look(kept)
    [told] = troubles(kept)
    assert "trades.0.spool was removed while it was in use" in told
    assert "stop the supervisor before" in told
    kept.put(entries(11, 12))
    assert kept.spool.slot == 0
    crash(kept.spool)
    assert left_in(tmp_path) == list(range(3, 13))


def test_a_removed_folder_that_is_put_back_gets_file_and_lock_again(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    kept = spilling(folder)
    shutil.rmtree(folder)
    let_it_look(kept)
    let_it_look(kept)
    [told] = troubles(kept)
    assert "put the folder back" in told
    assert "was removed while it was in use, and cannot be written anew" in kept.backlog.spool_trouble
    assert kept.store is not None
    assert not kept.store.durable
    kept.put(entries(11, 12))
    assert (kept.backlog.unread, kept.backlog.has_room()) == (8, False), "it waits in memory, behind what is on disk"
    folder.mkdir()
    let_it_look(kept)
    assert len(troubles(kept)) == 2
    assert kept.backlog.spool_trouble == ""
    other = opened(folder)
    assert other.slot == 1, "the slot is locked again"
    other.close()
    assert kept.deliver_all() == list(range(1, 13))
    assert kept.of(FramesDropped) == []
    kept.backlog.close()
    assert left_in(folder) == []


@pytest.mark.parametrize("removed", ["before the last look", "after it"])
def test_what_is_left_in_a_folder_that_is_gone_is_lost_at_the_end_and_not_called_kept(tmp_path: Path, removed: str) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    kept = spilling(folder)
    shutil.rmtree(folder)
    if removed == "before the last look":
        let_it_look(kept)
    assert kept.backlog.save(keeps=True) == (0, 10)
    assert not kept.backlog.save_gaps([b"{}"])
    assert kept.dropped() == [(1, 10, 10)]
    kept.backlog.close()


def test_a_file_removed_right_before_the_end_is_written_anew_with_all_there_is(tmp_path: Path) -> None:
    kept = spilling(tmp_path)
    remove_file(tmp_path)
    assert kept.backlog.save(keeps=True) == (10, 0)
    kept.backlog.close()
    assert left_in(tmp_path) == list(range(1, 11))


def test_another_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    """As where a folder is put back from a copy: who has written that is not ours to judge."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "spool"
    elsewhere.mkdir()
    folder.mkdir()
    stranger = opened(elsewhere, "other")
    stranger.append("other", entries(1, 3))
    stranger.close()
    kept = spilling(folder)
    shutil.rmtree(folder)
    elsewhere.rename(folder)
    let_it_look(kept)
    assert kept.spool.slot == 1
    assert left_in(folder) == [1, 2, 3]
    assert kept.deliver_all() == list(range(1, 11))


def test_a_disk_that_takes_nothing_keeps_no_empty_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = spilling(tmp_path)
    remove_file(tmp_path)

    def full(connection: object, path: str, **given: int) -> None:
        raise SpoolFull(path, "for the test")

    with monkeypatch.context() as patch:
        patch.setattr(spool_file, "prepare", full)
        for _ in range(3):
            let_it_look(kept)
    [told] = troubles(kept)
    assert "cannot be written anew: the spool is full" in told
    assert list(tmp_path.glob("*.spool*")) == []
    let_it_look(kept)
    assert (len(troubles(kept)), kept.spool.slot) == (2, 0)
    assert kept.deliver_all() == list(range(1, 11))


def test_a_running_feed_is_looked_after_though_nothing_is_put_or_confirmed(tmp_path: Path) -> None:
    kept = KeptBacklog(tmp_path)
    remove_file(tmp_path)
    kept.backlog.tidy()
    assert troubles(kept) == [], "not at every step"
    let_it_look(kept)
    assert len(troubles(kept)) == 1
