"""The file: transactions are whole, queries pin nothing, and every error of SQLite's has a name of ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.delivery.spool_file import SpoolFile
from ingest.errors import SpoolDamaged, SpoolFull, SpoolUnusable


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpoolFile]:
    file = SpoolFile(tmp_path / "trades.0.spool", "batch")
    yield file
    file.close(unlink=True)


def test_a_failing_piece_of_work_leaves_nothing(file):
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO gap (record) VALUES (?)", (b"{}",))
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        file.write(work, durable=True)
    assert file.rows("SELECT * FROM gap") == []
    assert file.write(lambda connection: connection.execute("SELECT 5").fetchone()) == (5,)


def test_a_query_that_is_not_used_up_does_not_stop_a_write(file):
    file.write(lambda connection: connection.executemany("INSERT INTO gap (record) VALUES (?)", [(b"{}",)] * 5))
    rows = file.each("SELECT * FROM gap")
    assert next(rows) == (1, b"{}")
    rows.close()
    file.write(lambda connection: connection.execute("DELETE FROM gap"))
    assert file.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, SpoolFull),
        (sqlite3.SQLITE_IOERR_WRITE, SpoolFull),
        (sqlite3.SQLITE_CORRUPT, SpoolDamaged),
        (sqlite3.SQLITE_CORRUPT_VTAB, SpoolDamaged),
        (sqlite3.SQLITE_NOTADB, SpoolDamaged),
        (sqlite3.SQLITE_ERROR, SpoolDamaged),
        (sqlite3.SQLITE_IOERR_READ, SpoolUnusable),
        (sqlite3.SQLITE_READONLY, SpoolUnusable),
        (sqlite3.SQLITE_BUSY, SpoolUnusable),
    ],
)
def test_every_error_of_sqlite_has_a_meaning(file, code, kind):
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code

    def work(_: sqlite3.Connection) -> None:
        raise error

    with pytest.raises(kind, match=r"trades\.0\.spool: as SQLite says it") as caught:
        file.write(work)
    assert type(caught.value) is kind


def test_a_full_disk_takes_the_ballast_only_where_that_is_wanted(file):
    calls = []

    def work(_: sqlite3.Connection) -> str:
        calls.append(file.ballast.there)
        if file.ballast.there:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return "done"

    with pytest.raises(SpoolFull):
        file.write(work)
    assert calls == [True]
    assert file.write(work, ballast=True) == "done"
    assert calls == [True, True, False]
    file.tidy(0)
    assert file.ballast.there


def test_a_closed_file_is_of_no_use(file):
    file.close(unlink=False)
    with pytest.raises(SpoolUnusable):
        file.rows("SELECT 1")


def test_another_program_that_holds_the_file_is_a_clear_problem(tmp_path):
    path = tmp_path / "trades.0.spool"
    SpoolFile(path, "batch").close(unlink=False)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("CREATE TABLE other (x)")
    with pytest.raises(SpoolUnusable, match="database is locked"):
        SpoolFile(path, "batch")
    other.close()


def test_begun_anew_it_has_the_rows_that_it_is_given(file):
    file.write(lambda connection: connection.execute("INSERT INTO gap (record) VALUES (x'00')"))
    assert file.begin_anew({"gap": [(7, b"kept")], "producer": [(3, "p", None, 5, 0)]}, keep_old=False) is None
    assert file.rows("SELECT * FROM gap") == [(7, b"kept")]
    assert file.rows("SELECT * FROM producer") == [(3, "p", None, 5, 0)]
    aside = file.begin_anew({}, keep_old=True)
    assert aside is not None
    connection = sqlite3.connect(aside)
    assert connection.execute("SELECT * FROM gap").fetchall() == [(7, b"kept")]
    connection.close()
    assert file.rows("SELECT * FROM gap") == []
