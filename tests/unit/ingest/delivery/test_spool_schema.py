"""The database in a spool's file: what a new one has, which ones are left alone, and what SQLite's errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ingest.delivery.spool_schema import FORMAT, PAGE_SIZE, meaning, prepare
from ingest.errors import SpoolDamaged, SpoolTooNew, SpoolUnusable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trades.0.sqlite"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def value(connection: sqlite3.Connection, pragma: str) -> object:
    return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


@pytest.mark.parametrize("synchronous", [1, 2])
def test_a_new_file_becomes_a_spool_of_this_version_with_the_given_durability(
    connection: sqlite3.Connection, synchronous: int
) -> None:
    prepare(connection, "path", synchronous=synchronous, ballast_bytes=4 << 20)
    names = ("user_version", "page_size", "auto_vacuum", "journal_mode", "locking_mode", "synchronous")
    assert [value(connection, name) for name in names] == [FORMAT, PAGE_SIZE, 2, "wal", "exclusive", synchronous]
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"producer", "chunk", "rejected", "leader", "gap"} < tables


@pytest.mark.parametrize("ballast", [0, 1 << 20, 4 << 20])
def test_what_a_checkpoint_may_take_fits_into_the_ballast_or_is_little(connection: sqlite3.Connection, ballast: int) -> None:
    prepare(connection, "path", synchronous=1, ballast_bytes=ballast)
    pages = value(connection, "wal_autocheckpoint")
    assert isinstance(pages, int)
    assert pages * PAGE_SIZE == max(16 * PAGE_SIZE, ballast // 2)


def test_a_file_that_is_a_spool_keeps_what_is_in_it(connection: sqlite3.Connection, path: Path) -> None:
    prepare(connection, "path", synchronous=1, ballast_bytes=0)
    connection.execute("INSERT INTO leader VALUES (1, 'p')")
    connection.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as again:
        prepare(again, "path", synchronous=2, ballast_bytes=0)
        assert again.execute("SELECT id FROM leader").fetchall() == [("p",)]


@pytest.mark.parametrize(
    ("begun", "error"), [(f"PRAGMA user_version = {FORMAT + 1}", SpoolTooNew), ("CREATE TABLE others (it)", SpoolDamaged)]
)
def test_a_file_of_a_newer_version_or_of_others_is_refused_before_anything_is_written(
    connection: sqlite3.Connection, path: Path, begun: str, error: type[Exception]
) -> None:
    connection.execute(begun)
    before = path.read_bytes()
    with pytest.raises(error):
        prepare(connection, str(path), synchronous=2, ballast_bytes=0)
    connection.close()
    assert path.read_bytes() == before


def test_an_error_that_says_nothing_of_the_file_makes_it_unusable_and_not_damaged() -> None:
    found = meaning(sqlite3.DatabaseError("without a code"), "/spool/trades.0.spool")
    assert type(found) is SpoolUnusable
    assert "/spool/trades.0.spool: without a code" in str(found)
