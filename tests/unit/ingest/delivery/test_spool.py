"""A spool: what it knows of its producers, its limit, gaps and rejected messages, slots, adoption."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ingest.delivery import spool as spool_module
from ingest.delivery.spool import StoredProducer
from ingest.errors import SpoolFull, SpoolUnusable
from tests.support.spools import adopted, crash, entries, folder_of, numbers, opened, read_all


def stored(path: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_producers_are_known_after_a_restart_in_their_order(tmp_path):
    spool = opened(tmp_path, "late", "leader", "candidate")
    spool.lead("late", 3)
    spool.lead("leader", 4)
    spool.mark_late(["late"])
    spool.append("late", entries(1, 4))
    spool.append("leader", entries(1, 20))
    spool.append("leader", entries(21, 30))
    spool.append("candidate", entries(1, 1))
    spool.confirm("leader", 12)
    size = spool.size
    spool.close()
    spool = opened(tmp_path)
    assert [one._replace(size=0) for one in spool.producers()] == [
        StoredProducer("late", 3, 0, True, 4, 0, 1, 4),
        StoredProducer("leader", 4, 12, False, 30, 0, 1, 30),
        StoredProducer("candidate", None, 0, False, 1, 0, 1, 1),
    ]
    assert sum(one.size for one in spool.producers()) == spool.size == size
    spool.close()


def test_candidates_are_those_that_are_not_known_to_have_led(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "MOST_CANDIDATES", 2)
    spool = opened(tmp_path, "a", "p", "b", "c")
    spool.lead("p", 1)
    assert spool.candidates == ["b", "c"]
    crash(spool)
    with closing(opened(tmp_path)) as again:
        assert again.candidates == ["b", "c"]


def test_a_close_keeps_candidates_where_messages_wait_for_who_comes_next(tmp_path):
    """A bid whose answer never came may have made one the leader."""
    spool = opened(tmp_path, "p", "candidate")
    spool.lead("p", 1)
    spool.append("p", entries(1, 3))
    spool.close()
    spool = opened(tmp_path)
    assert spool.candidates == ["candidate"]
    spool.confirm("p", 3)
    spool.close()
    with closing(opened(tmp_path)) as again:
        assert again.candidates == []


def test_adding_twice_changes_nothing(tmp_path):
    spool = opened(tmp_path, "p")
    spool.lead("p", 1)
    spool.add("p")
    assert [(one.id, one.epoch) for one in spool.producers()] == [("p", 1)]
    spool.close()


def test_a_forgotten_producer_takes_its_rows_along_and_its_run_is_not_used_again(tmp_path):
    spool = opened(tmp_path, "p", "q")
    spool.append("p", entries(1, 5))
    spool.append("q", entries(1, 5))
    spool.forget("q")
    spool.add("r")
    assert [(one.id, one.messages) for one in spool.producers()] == [("p", 5), ("r", 0)]
    assert read_all(spool, "r") == []
    assert [run for (run,) in spool._file.rows("SELECT run FROM producer")] == [1, 3]
    spool.forget("p")
    assert spool.size == 0
    spool.close()


def test_the_limit_is_asked_before_adding_and_confirmed_rows_make_room(tmp_path):
    spool = opened(tmp_path, "p", max_bytes=10_000)
    spool.append("p", entries(1, 20, size=1000))  # below the limit before, so it fits
    held = spool.size
    with pytest.raises(SpoolFull, match=r"spool\.max_bytes is 10000"):
        spool.append("p", entries(21, 21))
    assert (spool.size, numbers(read_all(spool, "p"))) == (held, list(range(1, 21)))
    spool.append("p", entries(21, 25), final=True)  # at a stop all goes in
    spool.confirm("p", 20)
    spool.append("p", entries(26, 27))  # without waiting for the next flush
    assert numbers(read_all(spool, "p", 20)) == list(range(21, 28))
    spool.close()


def test_nothing_is_appended_by_nothing(tmp_path):
    spool = opened(tmp_path, "p")
    spool.append("p", [])
    assert (spool.size, spool.producers()[0].messages) == (0, 0)
    spool.close()


def test_gaps_are_taken_once_and_stay_until_an_orderly_end(tmp_path):
    spool = opened(tmp_path)
    spool.save_gaps([b'{"a":1}', b'{"b":2}'])
    spool.close()
    spool = opened(tmp_path)
    assert spool.take_gaps() == [b'{"a":1}', b'{"b":2}']
    assert spool.take_gaps() == []
    crash(spool)
    spool = opened(tmp_path)
    assert spool.take_gaps() == [b'{"a":1}', b'{"b":2}']
    spool.save_gaps([b'{"b":2}'])  # could not be brought to Redis
    spool.close()
    spool = opened(tmp_path)
    assert spool.take_gaps() == [b'{"b":2}']
    spool.close()
    assert not spool.path.exists()


def test_what_the_disk_refused_to_note_of_a_producer_is_noted_with_the_next_write(tmp_path, monkeypatch):
    spool = opened(tmp_path, "p")

    def full(*_: object, **__: object) -> None:
        raise SpoolFull("x", "as a test has it")

    with monkeypatch.context() as disk:
        disk.setattr(spool._file, "write", full)
        for change in (lambda: spool.add("q"), lambda: spool.lead("q", 4), lambda: spool.mark_late(["p"])):
            with pytest.raises(SpoolFull):
                change()
    assert [one[:4] for one in spool.producers()] == [("p", None, 0, True), ("q", 4, 0, False)]
    spool.append("q", entries(1, 5))
    crash(spool)
    spool = opened(tmp_path)
    assert [(*one[:4], one.last) for one in spool.producers()] == [("p", None, 0, True, 0), ("q", 4, 0, False, 5)]
    spool.close()


def test_a_rejected_message_is_kept_with_why_the_newest_thousand(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "MOST_REJECTED", 3)
    spool = opened(tmp_path, "p")
    for entry in entries(1, 5):
        spool.reject("p", entry, f"ERR no {entry.seq}")
    spool.close()
    rows = stored(spool.path, "SELECT seq, producer, queue, id, data, detail FROM rejected ORDER BY number")
    assert [row[0] for row in rows] == [3, 4, 5]
    assert rows[0] == (3, "p", "trades", b"id3", b"3;xxxxxxxx", "ERR no 3")


@pytest.mark.parametrize(
    ("prepare", "kept"),
    [
        (lambda spool: None, None),
        (lambda spool: spool.lead("p", 1), ["p"]),
        (lambda spool: [spool.lead("p", 1), spool.lead("q", 2)], ["q"]),
        (lambda spool: [spool.lead("q", 2), spool.append("p", entries(1, 1))], ["p", "q"]),
        (lambda spool: [spool.append("p", entries(1, 9)), spool.confirm("p", 9)], None),
        (lambda spool: spool.save_gaps([b"{}"]), []),
        (lambda spool: spool.reject("p", entries(1, 1)[0], "no"), []),
    ],
)
def test_what_a_close_leaves(tmp_path, prepare, kept):
    spool = opened(tmp_path, "p", "q")
    prepare(spool)
    spool.close()
    spool.close()
    assert {path.name for path in tmp_path.iterdir()} == {"trades.0.lock"} | ({"trades.0.spool"} if kept is not None else set())
    if kept is not None:
        assert [name for (name,) in stored(spool.path, "SELECT id FROM producer ORDER BY run")] == kept


def test_files_are_for_their_owner_alone(tmp_path):
    spool = opened(tmp_path, "p")
    spool.append("p", entries(1, 5))
    for suffix in (".spool", ".spool-wal", ".lock"):
        assert (tmp_path / f"trades.0{suffix}").stat().st_mode & 0o077 == 0
    spool.close()


def test_two_spools_of_one_feed_have_slots_of_their_own_and_the_left_one_is_adopted(tmp_path):
    first, second = opened(tmp_path, "p"), opened(tmp_path, "q")
    assert (first.slot, second.slot) == (0, 1)
    second.append("q", entries(1, 5))
    assert adopted(tmp_path) == []
    second.close()
    [taken] = adopted(tmp_path)
    assert (taken.slot, numbers(read_all(taken, "q"))) == (1, [1, 2, 3, 4, 5])
    assert adopted(tmp_path) == []  # held by us now
    taken.confirm("q", 5)
    taken.close()
    assert adopted(tmp_path) == []
    assert not taken.path.exists()
    first.close()


def test_a_slot_with_a_producer_or_a_gap_only_is_adopted_too(tmp_path):
    spools = [opened(tmp_path, name) for name in ("own", "taken", "gap", "nothing")]
    spools[1].lead("taken", 1)
    spools[2].save_gaps([b"{}"])
    for spool in spools[1:]:
        spool.close()
    found = adopted(tmp_path)
    assert [spool.slot for spool in found] == [1, 2]
    for spool in [*found, spools[0]]:
        spool.close()


def test_any_thread_may_call(tmp_path):
    spool = opened(tmp_path, "p")
    for first in range(1, 50, 10):
        thread = threading.Thread(target=spool.append, args=("p", entries(first, first + 9)))
        thread.start()
        thread.join()
    assert numbers(read_all(spool, "p")) == list(range(1, 51))
    spool.close()


def test_a_folder_that_is_missing_is_a_clear_problem(tmp_path):
    with pytest.raises(SpoolUnusable, match="No such file or directory"):
        folder_of(tmp_path / "nothing").acquire()


def test_always_waits_for_the_disk_and_batch_only_where_it_must(tmp_path):
    always = folder_of(tmp_path, "a", fsync="always").acquire()
    batch = folder_of(tmp_path, "b", fsync="batch").acquire()
    modes = []
    for spool in (always, batch):
        modes.append(spool._file.rows("PRAGMA synchronous")[0][0])
        seen = spool._file.write(lambda c: c.execute("PRAGMA synchronous").fetchone()[0], durable=True)
        modes += [seen, spool._file.rows("PRAGMA synchronous")[0][0]]
        spool.close()
    assert modes == [2, 2, 2, 1, 2, 1]


def test_a_large_file_shrinks_again_though_it_is_never_empty(tmp_path):
    spool = opened(tmp_path, "p")
    for first in range(1, 20_000, 1000):
        spool.append("p", entries(first, first + 999, size=1000))
    large = spool.path.stat().st_size
    assert large > 15_000_000
    spool.confirm("p", 19_000)
    for _ in range(10):
        spool.flush()
    assert os.stat(spool.path).st_size < 7_000_000
    assert numbers(read_all(spool, "p", 19_000)) == list(range(19_001, 20_001))
    spool.close()


def test_what_is_needed_again_every_second_is_not_given_back(tmp_path):
    spool = opened(tmp_path, "p")
    sizes = []
    for first in range(1, 60_000, 10_000):
        for begin in range(first, first + 10_000, 1000):
            spool.append("p", entries(begin, begin + 999, size=1000))
        spool.confirm("p", first + 9_999)
        spool.flush()
        sizes.append(spool.path.stat().st_size)
    assert min(sizes) == max(sizes) > 10_000_000
    spool.close()
