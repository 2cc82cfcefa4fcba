"""A spool whose process is killed, whose file is damaged, or newer than this version."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.delivery.spool_schema import FORMAT
from ingest.errors import SpoolDamaged, SpoolTooNew
from tests.support.spools import LARGE, adopted, crash, entries, folder_of, numbers, opened, read_all

ROOT = Path(__file__).resolve().parents[4]

#: Appends chunks without end and says after each which number is safe.
WRITER = """
import sys
from pathlib import Path
from tests.support.spools import entries, opened

spool = opened(Path(sys.argv[1]), sys.argv[2])
spool.lead(sys.argv[2], 1)
first = 1
while True:
    spool.append(sys.argv[2], entries(first, first + 36, size=300))
    first += 37
    print(first - 1, flush=True)
    if first % 5 == 0:
        spool.confirm(sys.argv[2], first // 10)
        spool.flush()
"""


@contextmanager
def writer(folder: Path, producer: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITER, str(folder), producer]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def killed_after(process: subprocess.Popen[str], appends: int) -> int:
    """Kill the writer after so many appends; return the last number that it knew to be safe."""
    assert process.stdout is not None
    safe = 0
    for _ in range(appends):
        safe = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    return int((process.stdout.read().splitlines() or [str(safe)])[-1])


@pytest.mark.parametrize("appends", [1, 40, 300])
def test_all_that_was_appended_before_a_sigkill_is_there(tmp_path, appends):
    with writer(tmp_path, "p") as process:
        safe = killed_after(process, appends)
        process.wait()
        spool = opened(tmp_path)
        assert spool.slot == 0
        assert spool.set_aside_at_open is None
        [held] = spool.producers()
        found = numbers(read_all(spool, "p", held.confirmed))
        assert (held.id, held.epoch) == ("p", 1)
        assert found == list(range(held.confirmed + 1, found[-1] + 1))
        assert found[-1] in (safe, safe + 37)  # the append that was not yet told, too
        spool.close()


def test_what_a_killed_process_leaves_is_adopted_and_a_living_one_is_left_alone(tmp_path):
    with writer(tmp_path, "p") as process:
        assert process.stdout is not None
        process.stdout.readline()
        own = opened(tmp_path, "q")
        assert own.slot == 1
        assert adopted(tmp_path) == []
        safe = killed_after(process, 20)
        process.wait()
        [left] = adopted(tmp_path)
        assert left.slot == 0
        assert numbers(read_all(left, "p"))[-1] >= safe
        assert (tmp_path / "trades.0.lock").exists()
        left.close()
        own.close()


def test_rows_that_were_confirmed_before_a_crash_are_deleted_after_it(tmp_path):
    spool = opened(tmp_path, "p")
    spool.append("p", entries(1, 10))
    spool.confirm("p", 10)
    spool.lead("p", 1)  # writes the position along
    crash(spool)
    spool = opened(tmp_path)
    assert (spool.producers()[0].confirmed, spool.producers()[0].messages) == (10, 10)
    spool.flush()
    assert spool.size == 0
    spool.close()


def left_behind(folder: Path, chunks: int = 40) -> Path:
    spool = opened(folder, "p", "q")
    spool.lead("q", 5)
    spool.mark_late(["p"])
    spool.save_gaps([b"{}"])
    for first in range(1, 50 * chunks, 50):
        spool.append("p", entries(first, first + 49, size=400))
    spool.close()
    return spool.path


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("content", [b"not SQLite at all, " * 500, b"x" * 600, random.Random(1).randbytes(50_000)])
def test_a_file_that_is_no_database_is_set_aside_at_the_start(tmp_path, content):
    (tmp_path / "trades.0.spool").write_bytes(content)
    spool = opened(tmp_path, "p")
    aside = spool.set_aside_at_open
    assert aside is not None
    assert aside.name.startswith("trades.0.spool.damaged-20")
    assert aside.read_bytes() == content
    spool.append("p", entries(1, 3))
    assert numbers(read_all(spool, "p")) == [1, 2, 3]
    spool.close()


def test_a_database_of_somebody_else_is_set_aside(tmp_path):
    connection = sqlite3.connect(tmp_path / "trades.0.spool")
    connection.execute("CREATE TABLE cookies (name)")
    connection.close()
    spool = opened(tmp_path, "p")
    assert spool.set_aside_at_open is not None
    spool.close()


def test_an_empty_file_is_what_a_crash_at_the_first_start_leaves(tmp_path):
    (tmp_path / "trades.0.spool").touch()
    spool = opened(tmp_path, "p")
    assert spool.set_aside_at_open is None
    spool.close()


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_noticed_and_never_gives_anything_false(tmp_path, part):
    path = left_behind(tmp_path)
    os.truncate(path, int(path.stat().st_size * part))
    assert_honest(tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_random_bytes_in_the_middle_are_noticed_and_never_given_as_messages(tmp_path, seed):
    chance = random.Random(seed)
    path = left_behind(tmp_path)
    for _ in range(3):
        overwrite(path, chance.randrange(4096, path.stat().st_size - 4096), chance.randbytes(chance.choice([1, 100, 5000])))
    assert_honest(tmp_path)


def assert_honest(folder: Path) -> None:
    """What can be read is what was written, and the rest is told as damage, at the start or when it is read."""
    spool = opened(folder)
    noticed = spool.set_aside_at_open is not None
    written = {entry.seq: entry._replace(stored=True) for entry in entries(1, 2000, size=400)}
    after = 0
    try:
        while batch := spool.read("p", after, 70, 30_000):
            assert batch == [written[number] for number in range(after + 1, batch[-1].seq + 1)]
            after = batch[-1].last
    except KeyError:
        assert noticed  # so early that not even the producer could be read
    except SpoolDamaged:
        noticed = True
        assert spool.set_aside().exists()
        assert {one.id: (one.epoch, one.late) for one in spool.producers()} == {"p": (None, True), "q": (5, False)}
    assert noticed or after == 2000
    assert spool.size == 0 or after == 2000
    spool.add("new")
    spool.append("new", entries(1, 3))
    assert numbers(read_all(spool, "new")) == [1, 2, 3]
    spool.close()


def test_one_changed_bit_in_a_message_is_noticed_when_it_is_read_and_what_comes_before_is_read(tmp_path):
    path = left_behind(tmp_path)
    at = path.read_bytes().index(b"1234;xxx")
    overwrite(path, at, b"1235;xxx")
    spool = opened(tmp_path)
    assert spool.set_aside_at_open is None
    assert numbers(spool.read("p", 0, 1200, LARGE)) == list(range(1, 1201))
    with pytest.raises(SpoolDamaged, match="messages 1201 to 1250 are not what was written"):
        spool.read("p", 1200, 100, LARGE)
    aside = spool.set_aside()
    assert (aside.parent, aside.name.startswith(path.name + ".damaged-")) == (tmp_path, True)
    assert (spool.size, read_all(spool, "p"), spool.take_gaps()) == (0, [], [b"{}"])
    assert [(one.id, one.epoch, one.late) for one in spool.producers()] == [("p", None, True), ("q", 5, False)]
    spool.append("p", entries(2001, 2003))
    spool.add("r")
    spool.close()
    spool = opened(tmp_path)
    assert numbers(read_all(spool, "p", 1200)) == [2001, 2002, 2003]
    again = spool.set_aside()  # in the same second
    assert again != aside
    spool.close()


def test_a_file_of_a_newer_version_is_left_as_it_is(tmp_path):
    path = left_behind(tmp_path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    before = path.read_bytes()
    for _ in range(2):  # and the slot's lock is free again
        with pytest.raises(SpoolTooNew, match=f"its format is {FORMAT + 1}, this version knows {FORMAT}"):
            folder_of(tmp_path).acquire()
    assert path.read_bytes() == before
    os.rename(path, tmp_path / "trades.1.spool")
    own = opened(tmp_path, "own")
    with pytest.raises(SpoolTooNew):
        adopted(tmp_path)
    own.close()
