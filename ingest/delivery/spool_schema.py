"""What a spool's file is as a database: its tables and their version, the settings it is opened with, what SQLite's errors mean.

The rule: a file of a newer version, or of others, is refused before anything is written to it.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from ingest.errors import SpoolDamaged, SpoolError, SpoolFull, SpoolTooNew, SpoolUnusable

#: The version of the schema, kept as ``PRAGMA user_version``. A file of a higher one is left alone.
FORMAT = 1

#: Small enough for chunks of one message, and as fast as larger ones for chunks of a thousand.
PAGE_SIZE = 4096

_SCHEMA = """
    CREATE TABLE producer (run INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, epoch INTEGER,
        confirmed INTEGER NOT NULL, late INTEGER NOT NULL);
    CREATE TABLE chunk (run INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, messages INTEGER NOT NULL,
        bytes INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (run, first));
    CREATE TABLE rejected (number INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, detail TEXT NOT NULL, producer TEXT NOT NULL,
        seq INTEGER NOT NULL, last INTEGER NOT NULL, queue TEXT NOT NULL, id BLOB NOT NULL, data BLOB NOT NULL,
        received_us INTEGER NOT NULL);
    CREATE TABLE leader (one INTEGER PRIMARY KEY, id TEXT NOT NULL);
    CREATE TABLE gap (number INTEGER PRIMARY KEY, record BLOB NOT NULL);
"""

#: Apart from the schema since files that were begun without it have the same format; readers that do not know it pass it by.
OWNER = "CREATE TABLE IF NOT EXISTS owner (one INTEGER PRIMARY KEY, name TEXT NOT NULL)"


def prepare(connection: sqlite3.Connection, path: str, *, synchronous: int, ballast_bytes: int) -> None:
    """Let a file that was just opened, or made, be a spool's; ``synchronous`` is SQLite's number, ``path`` for errors.

    A `SpoolError` where it cannot be; SQLite's own errors are the caller's to translate (`meaning`).
    """

    def pragma(text: str) -> Any:
        row = connection.execute(f"PRAGMA {text}").fetchone()
        return row[0] if row else None

    pragma("locking_mode = EXCLUSIVE")
    version = pragma("user_version")
    if version > FORMAT:
        raise SpoolTooNew(path, f"its format is {version}, this version knows {FORMAT}; update, or move it away")
    if version < FORMAT and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise SpoolDamaged(path, "it is a database, but no spool")
    if version < FORMAT:  # else the second would write, and on a full disk what waits there could not even be read
        pragma(f"page_size = {PAGE_SIZE}")
        pragma("auto_vacuum = INCREMENTAL")
    if pragma("journal_mode = WAL") != "wal":
        raise SpoolUnusable(path, "its file system takes no write-ahead log")
    # What a full disk must take for a checkpoint is at most what the ballast gives.
    log_bytes = max(16 * PAGE_SIZE, ballast_bytes // 2)
    pragma(f"wal_autocheckpoint = {log_bytes // PAGE_SIZE}")
    pragma(f"journal_size_limit = {2 * log_bytes}")
    pragma("secure_delete = OFF")
    pragma("fullfsync = ON")
    pragma("checkpoint_fullfsync = ON")
    pragma("synchronous = FULL")
    if version < FORMAT:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
    pragma(f"synchronous = {synchronous}")


def meaning(error: sqlite3.DatabaseError, path: str) -> SpoolError:
    """Return what an error of SQLite's means for the file."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_WRITE:
        return SpoolFull(path, str(error))
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
        return SpoolDamaged(path, str(error))
    return SpoolUnusable(path, str(error))
