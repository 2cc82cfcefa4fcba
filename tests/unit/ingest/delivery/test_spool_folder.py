"""Whose spool it is: what another group of supervisors has to send is never sent, moved or deleted by us."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from ingest.delivery.spool import Spool
from ingest.delivery.spool_folder import Refusals
from ingest.delivery.spool_schema import FORMAT
from ingest.errors import SpoolForeign
from tests.support.spools import adopted, crash, entries, folder_of, numbers, read_all

OURS, THEIRS = "namespace dramatiq", "namespace dramatiq, group blue"


def of(owner: str, folder: Path) -> Spool:
    return folder_of(folder, owner=owner).acquire()


def left_by(owner: str, folder: Path, *, messages: int, gap: bool = False) -> Path:
    spool = of(owner, folder)
    spool.add("p")
    spool.lead("p", 7)
    spool.append("p", entries(1, messages))
    if gap:
        spool.save_gaps([b"{}"])
    spool.close()
    return spool.path


@pytest.mark.parametrize(("messages", "gap"), [(3, False), (0, True)], ids=["messages", "a gap record"])
def test_a_start_on_what_others_have_to_send_is_refused_in_words_and_nothing_is_touched(
    tmp_path: Path, messages: int, gap: bool
) -> None:
    path = left_by(THEIRS, tmp_path, messages=messages, gap=gap)
    before = path.read_bytes()
    for _ in range(2):  # and the slot's lock is free again
        with pytest.raises(SpoolForeign, match=f"trades.0.spool: it holds messages of {THEIRS}, and this is {OURS}; give each"):
            of(OURS, tmp_path)
    assert path.read_bytes() == before
    theirs = of(THEIRS, tmp_path)
    assert numbers(read_all(theirs, "p")) == list(range(1, messages + 1))
    theirs.close()


def test_a_file_of_others_that_holds_nothing_is_taken_and_what_it_knew_of_their_lead_is_forgotten(tmp_path: Path) -> None:
    left_by(THEIRS, tmp_path, messages=0)
    ours = of(OURS, tmp_path)
    assert (ours.slot, ours.producers(), ours.leader) == (0, [], "")
    ours.add("q")
    ours.append("q", entries(1, 1))
    crash(ours)
    with pytest.raises(SpoolForeign):
        of(THEIRS, tmp_path)


def test_a_file_from_before_files_had_owners_is_ours(tmp_path: Path) -> None:
    path = left_by("", tmp_path, messages=3)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'owner'").fetchall() == []
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    connection.close()
    ours = of(OURS, tmp_path)
    assert (numbers(read_all(ours, "p")), ours.leader) == ([1, 2, 3], "p")
    ours.close()
    with pytest.raises(SpoolForeign):
        of(THEIRS, tmp_path)


def test_of_what_others_left_nothing_is_adopted_and_of_our_own_all(tmp_path: Path) -> None:
    left = [of(owner, tmp_path) for owner in (THEIRS, OURS, "")]
    for number, spool in enumerate(left):
        spool.add(f"p{number}")
        spool.append(f"p{number}", entries(1, 3))
    mine = of(OURS, tmp_path)
    for spool in left:
        crash(spool)
    told: list[SpoolForeign] = []
    refusals = Refusals(told.append)
    found = adopted(tmp_path, owner=OURS, refusals=refusals)
    assert [spool.slot for spool in found] == [1, 2]
    foreign = tmp_path / "trades.0.spool"
    assert refusals.has(foreign), "it is not opened again as it is"
    os.utime(foreign)
    assert not refusals.has(foreign)
    assert adopted(tmp_path, owner=OURS, refusals=refusals) == []
    assert [Path(error.path).name for error in told] == ["trades.0.spool"]
    for spool in (*found, mine):
        spool.close()
    theirs = of(THEIRS, tmp_path)
    assert numbers(read_all(theirs, "p0")) == [1, 2, 3]
    theirs.close()


def test_a_new_file_in_place_of_a_damaged_one_has_the_same_owner(tmp_path: Path) -> None:
    spool = of(THEIRS, tmp_path)
    spool.add("p")
    spool.set_aside()
    spool.append("p", entries(1, 3))
    crash(spool)
    with pytest.raises(SpoolForeign):
        of(OURS, tmp_path)
