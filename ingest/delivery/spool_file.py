"""The SQLite file of a spool: opening, writing, giving space back, and beginning anew.

The rule: one connection, which keeps the file to itself (``locking_mode = EXCLUSIVE``), so that no reader pins the log and no
shared memory is needed; whatever SQLite raises leaves here as a `SpoolError`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from ingest.delivery.ballast import Ballast, disk_of
from ingest.delivery.spool_schema import OWNER, PAGE_SIZE, meaning, prepare
from ingest.errors import SpoolDamaged, SpoolError, SpoolFull, SpoolUnusable

T = TypeVar("T")
Row = tuple[Any, ...]
Fsync = Literal["batch", "always"]

#: So many free pages are given back to the disk at a time, since whoever delivers waits meanwhile.
PAGES_AT_ONCE = 2048


class SpoolFile:
    """An open database. The caller holds the slot's lock, and calls from one thread at a time."""

    def __init__(self, path: Path, fsync: Fsync) -> None:
        self.path = path
        self._synchronous = 2 if fsync == "always" else 1
        try:
            self.ballast = Ballast(path.with_suffix(".ballast"))
        except OSError as error:
            raise SpoolUnusable(str(path.parent), str(error.strerror)) from error
        #: Where the file is now that was here and is no database; None if all was well.
        self.set_aside: Path | None = None
        self._tight = False  # the disk was full, and has no room yet
        self._opened: os.stat_result  # the file that is open, whatever has that name now
        try:
            self._connection = self._open()
        except SpoolDamaged:
            self.set_aside = self._remove(keep=True)
            self._connection = self._open()
        self.ballast.make()

    @property
    def is_in_place(self) -> bool:
        """Whether the file that is open still has its name."""
        try:
            return os.path.samestat(os.stat(self.path), self._opened)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # nobody knows; whatever is wrong, the next write tells

    @property
    def owner(self) -> str:
        """For whom this file was begun; "" if it does not say."""
        if not self.rows("SELECT 1 FROM sqlite_master WHERE name = 'owner'"):
            return ""
        return next((str(name) for (name,) in self.rows("SELECT name FROM owner")), "")

    @property
    def has_room(self) -> bool:
        """Whether a write may be tried: where the ballast is gone, what is free is kept for deleting."""
        return self.ballast.there or self._disk_has_room

    @property
    def _disk_has_room(self) -> bool:
        with self._translated():
            return disk_of(self.path.parent).free > 3 * self.ballast.size

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query."""
        return list(self.each(statement, values))

    def each(self, statement: str, values: Sequence[Any] = ()) -> Generator[Row, None, None]:
        """Yield the rows of a query; close the iterator where it is not used up, since an open query pins the log."""
        with self._translated():
            cursor = self._connection.execute(statement, values)
            try:
                yield from cursor
            finally:
                cursor.close()

    def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = False, ballast: bool = False) -> T:
        """Do some work in one transaction; if it fails, nothing of it is done.

        ``durable``: return only when the disk has it, whatever the policy. ``ballast``: on a full disk, use that for it.
        """
        try:
            return self._transaction(work, durable)
        except SpoolFull:
            self._tight = True
            if not ballast:
                raise
        self.ballast.drop()
        with suppress(SpoolError):  # then the log is as it was, and the work may fit all the same
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._transaction(work, durable)

    def set_owner(self, name: str) -> None:
        """Store for whom this file is."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(OWNER)
            connection.execute("INSERT OR REPLACE INTO owner VALUES (1, ?)", (name,))

        self.write(work, durable=True, ballast=True)

    def free_pages(self) -> int:
        """Return how many pages of the file hold nothing."""
        return int(self.rows("SELECT * FROM pragma_freelist_count")[0][0])

    def tidy(self, spare: int) -> None:
        """Give the disk back what is free, some at a time, and make the ballast again.

        While the disk has room, only of the ``spare`` pages, which were not needed lately, and only what is more than the file
        holds (and than the ballast takes): what is to come will want them.
        """
        ((pages,),) = self.rows("SELECT * FROM pragma_page_count")
        much = 2 * spare > pages and spare * PAGE_SIZE > self.ballast.size
        count = min(PAGES_AT_ONCE, self.free_pages() if self._tight else spare if much else 0)
        if count:
            with self._translated():  # as a script, because a cursor takes one step of it only: one page
                self._connection.executescript(f"PRAGMA incremental_vacuum({count})")
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        self.ballast.make()
        self._tight = self._tight and not (self.ballast.there and self._disk_has_room)

    def begin_anew(self, tables: dict[str, list[Row]], *, keep_old: bool) -> Path | None:
        """Put a new file with these rows in place of this one; return where the old one is now, if it was to be kept."""
        self._close()
        aside = self._remove(keep=keep_old)
        self._connection = self._open()
        self._tight = False
        self.write(lambda connection: _fill(connection, tables), durable=True, ballast=True)
        return aside

    def write_anew(self, path: Path) -> None:
        """Write all that the open file holds to a new one, durably, and go on with that; if it fails, with the old one."""
        old, before = self._connection, (self.path, self._opened)
        self.path = path
        try:
            ballast = Ballast(path.with_suffix(".ballast"))
            self._connection = self._connect()
            with self._translated():
                self._connection.execute("PRAGMA synchronous = 2")
                old.backup(self._connection)
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        except (SpoolError, OSError) as error:
            if self._connection is not old:
                self._close()
            if self._opened is not before[1]:
                with suppress(SpoolError):
                    self._remove(keep=False)
            self._connection, (self.path, self._opened) = old, before
            raise error if isinstance(error, SpoolError) else SpoolUnusable(str(path.parent), str(error.strerror)) from error
        old.close()
        self.ballast = ballast
        ballast.make()

    def close(self, *, unlink: bool) -> None:
        """Close the file, and remove it if it is of no more use."""
        self._close()
        self.ballast.drop()
        if unlink and self.is_in_place:
            self._remove(keep=False)

    def _remove(self, *, keep: bool) -> Path | None:
        """Unlink the closed file, or give it another name and return that."""
        aside = _free_name(self.path) if keep else None
        # The database before its log: SQLite throws away a log without a database, but would believe a database without its log.
        for suffix in ("", "-wal", "-journal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            with self._translated(), suppress(FileNotFoundError):
                if aside is not None:
                    part.rename(aside.with_name(aside.name + suffix))
                else:
                    part.unlink()
        return aside

    def _transaction(self, work: Callable[[sqlite3.Connection], T], durable: bool) -> T:
        connection = self._connection
        switch = durable and self._synchronous != 2
        with self._translated():
            if switch:
                connection.execute("PRAGMA synchronous = 2")
            try:
                connection.execute("BEGIN IMMEDIATE")
                done = work(connection)
                connection.execute("COMMIT")
                return done
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if switch:
                    connection.execute(f"PRAGMA synchronous = {self._synchronous}")

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except SpoolFull:
            if not self.ballast.there:
                raise
            self.ballast.drop()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        with self._translated():
            # Made by us, for its mode: messages are nobody else's business. The log inherits it.
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._opened = os.fstat(fd)
            os.close(fd)
            connection = sqlite3.connect(self.path, timeout=2.0, isolation_level=None, check_same_thread=False)
            try:
                prepare(connection, str(self.path), synchronous=self._synchronous, ballast_bytes=self.ballast.size)
            except BaseException:
                connection.close()
                raise
            _sync_folder(self.path.parent)
            return connection

    def _close(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise meaning(error, str(self.path)) from error
        except OSError as error:
            raise SpoolUnusable(str(self.path), str(error.strerror)) from error


def _fill(connection: sqlite3.Connection, tables: dict[str, list[Row]]) -> None:
    for name, rows in tables.items():
        for row in rows:
            connection.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 -- names of ours


def _free_name(path: Path) -> Path:
    name = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    candidates = (path.with_name(name if number == 1 else f"{name}-{number}") for number in range(1, 1000))
    return next(candidate for candidate in candidates if not candidate.exists())


def _sync_folder(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
