"""The rows in a spool's file: chunks written, read in order, deleted when they are done.

The rule: read in the order of (run, first), never of rowid, since what was in memory at a stop is older than what is stored then;
no query stays open, since it would pin the log.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from ingest.delivery import chunks
from ingest.delivery.entry import Entry, payloads_in
from ingest.delivery.spool_file import Row, SpoolFile
from ingest.errors import SpoolDamaged

_SEQ = attrgetter("seq")


class Totals(NamedTuple):
    """What is stored of one run."""

    messages: int
    size: int
    first: int
    last: int


NOTHING = Totals(0, 0, 0, 0)


class DroppedChunk(NamedTuple):
    """A chunk that was dropped: its first and last number, how much was in it, and when the first and the last was received.

    The times are in wall-clock microseconds, 0 where the chunk cannot be read.
    """

    first: int
    last: int
    messages: int
    bytes: int
    payloads: int
    from_us: int
    to_us: int


class _Decoded(NamedTuple):
    """The chunk that was read last and not used up."""

    run: int
    entries: list[Entry]


@dataclass(slots=True)
class Producer:
    """A row of the table ``producer``; ``flushed`` is up to where its rows are certainly deleted."""

    run: int
    id: str
    epoch: int | None = None
    confirmed: int = 0
    late: bool = False
    flushed: int = 0

    def row(self) -> Row:
        """Return the row as the file has it."""
        return self.run, self.id, self.epoch, self.confirmed, int(self.late)


class ChunkRows:
    """The table ``chunk`` of an open file."""

    def __init__(self, file: SpoolFile) -> None:
        self.size = 0
        self._file = file
        self._decoded: _Decoded | None = None

    def count(self) -> None:
        """Count what is there; walks every page of the table, so that most damage is found."""
        ((self.size,),) = self._file.rows("SELECT coalesce(sum(bytes), 0) FROM chunk")

    def emptied(self) -> None:
        """Note that the file is a new one."""
        self.size = 0
        self._decoded = None

    def totals(self) -> dict[int, Totals]:
        """Return what is stored of every run that has rows."""
        query = "SELECT run, sum(messages), sum(bytes), min(first), max(last) FROM chunk GROUP BY run"
        return {run: Totals(*totals) for run, *totals in self._file.rows(query)}

    def newest(self, run: int) -> int:
        """Return the highest number stored of a run, 0 if there is none."""
        rows = self._file.rows("SELECT last FROM chunk WHERE run = ? ORDER BY first DESC LIMIT 1", (run,))
        return int(rows[0][0]) if rows else 0

    def append(self, run: int, entries: Sequence[Entry], *, final: bool) -> None:
        """Store entries in one transaction; ``final``: durably, and at the cost of the ballast."""
        rows = [_row(run, chunk) for chunk in chunks.cut(entries)]
        self.size += self._file.write(lambda connection: self._store(connection, rows), durable=final, ballast=final)

    def read(self, run: int, after: int, messages: int, size: int) -> list[Entry]:
        """Return the next entries with a number above ``after``."""
        found: list[Entry] = []
        with closing(self._chunks_after(run, after)) as following:
            for chunk in following:
                begin = bisect_right(chunk, after, key=_SEQ)
                part = chunk[begin : begin + messages - len(found)]
                fitting = _fitting(part, size, at_least=0 if found else 1)
                found += part[:fitting]
                size -= sum([len(entry.data) for entry in part[:fitting]])
                if fitting < len(chunk) - begin or len(found) == messages:
                    self._decoded = _Decoded(run, chunk)
                    break
                after = chunk[-1].last
        return found

    def drop(self, run: int, after: int, size: int) -> list[DroppedChunk]:
        """Delete whole chunks that begin above ``after``, oldest first, until so many bytes are free."""
        query = "SELECT * FROM chunk WHERE run = ? AND first > ? ORDER BY first"
        dropped: list[DroppedChunk] = []
        with closing(self._file.each(query, (run, after))) as rows:
            for row in rows:
                if size <= 0:
                    break
                _, first, last, messages, held, _, data = row
                times = chunks.received(data) if _is_as_written(row) else (0, 0)
                dropped.append(DroppedChunk(first, last, messages, held, last - first + 1, *times))
                size -= held
        dropped = [self._with_payloads(run, chunk) for chunk in dropped]
        if dropped:
            delete = "DELETE FROM chunk WHERE run = ? AND first BETWEEN ? AND ?"
            span = (run, dropped[0][0], dropped[-1][0])
            self._file.write(lambda connection: connection.execute(delete, span), ballast=True)
            self.size -= sum(chunk.bytes for chunk in dropped)
            self._decoded = None
        return dropped

    def _with_payloads(self, run: int, chunk: DroppedChunk) -> DroppedChunk:
        """Return a chunk with its payloads counted: there may be holes between its messages."""
        if chunk.messages == chunk.payloads:
            return chunk
        rows = self._file.rows("SELECT * FROM chunk WHERE run = ? AND first = ?", (run, chunk.first))
        return chunk._replace(payloads=sum([payloads_in(self._entries(row)) for row in rows]))

    def delete_confirmed(self, producers: Sequence[Producer]) -> None:
        """Write the position of each producer and delete the rows up to it."""
        self.size -= self._file.write(lambda connection: _delete_confirmed(connection, producers), ballast=True)

    def save(self, producers: Sequence[Producer], leader: str | None, gone: Sequence[int], *, durable: bool) -> None:
        """Write producers and (unless None) who leads, and delete runs that have no rows, in one transaction."""

        def work(connection: sqlite3.Connection) -> None:
            _save(connection, producers)
            if leader is not None:
                connection.execute("INSERT OR REPLACE INTO leader VALUES (1, ?)", (leader,))
            connection.executemany("DELETE FROM producer WHERE run = ?", [(run,) for run in gone])

        self._file.write(work, durable=durable, ballast=True)

    def clear(self, run: int) -> None:
        """Delete, durably, the rows of a run that stays."""
        self.size -= self._file.write(lambda connection: _delete_rows(connection, run), durable=True, ballast=True)
        self._decoded = None

    def delete_producer(self, run: int) -> None:
        """Delete a run and its rows."""
        self.size -= self._file.write(lambda connection: _delete_producer(connection, run), ballast=True)
        self._decoded = None

    def _store(self, connection: sqlite3.Connection, rows: list[Row]) -> int:
        added = 0
        for row in rows:
            # Not the first try, if the write of that one failed and yet took place: the longer one has it all.
            present = connection.execute("SELECT last, bytes FROM chunk WHERE run = ? AND first = ?", row[:2]).fetchone()
            if present is None or present[0] < row[2]:
                connection.execute("INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                added += row[4] - (present[1] if present else 0)
                self._decoded = None if present else self._decoded
        return added

    def _chunks_after(self, run: int, after: int) -> Generator[list[Entry], None, None]:
        """Yield the chunks of a run that have numbers above ``after``, in order."""
        decoded = self._decoded
        if decoded is not None and decoded.run == run and decoded.entries[0].seq <= after < decoded.entries[-1].seq:
            yield decoded.entries
            after = decoded.entries[-1].last
        else:
            query = "SELECT * FROM chunk WHERE run = ? AND first <= ? ORDER BY first DESC LIMIT 1"
            for row in self._file.rows(query, (run, after)):
                if row[2] > after:
                    yield self._entries(row)
                    after = row[2]
        with closing(self._file.each("SELECT * FROM chunk WHERE run = ? AND first > ? ORDER BY first", (run, after))) as rows:
            yield from map(self._entries, rows)

    def _entries(self, row: Row) -> list[Entry]:
        _, first, last, _, _, _, data = row
        if not _is_as_written(row):
            raise SpoolDamaged(str(self._file.path), f"messages {first} to {last} are not what was written")
        try:
            return chunks.unpack(data)
        except ValueError as error:
            raise SpoolDamaged(str(self._file.path), f"messages {first} to {last} cannot be understood: {error}") from None


def _row(run: int, entries: Sequence[Entry]) -> Row:
    data = chunks.pack(entries)
    first, last, count = entries[0].seq, entries[-1].last, len(entries)
    return run, first, last, count, len(data), chunks.checksum(run, first, last, count, data), data


def _is_as_written(row: Row) -> bool:
    run, first, last, messages, _, crc, data = row
    return type(data) is bytes and chunks.checksum(run, first, last, messages, data) == crc  # damage may change the type too


def _fitting(entries: Sequence[Entry], size: int, at_least: int) -> int:
    """Return how many of the entries fit into so many bytes."""
    if sum([len(entry.data) for entry in entries]) <= size:
        return len(entries)
    for count, entry in enumerate(entries):
        size -= len(entry.data)
        if size < 0:
            return max(count, at_least)
    return len(entries)


def _delete_confirmed(connection: sqlite3.Connection, producers: Sequence[Producer]) -> int:
    _save(connection, producers)
    freed = 0
    for one in producers:
        which = "FROM chunk WHERE run = ? AND first <= ? AND last <= ?"
        span = (one.run, one.confirmed, one.confirmed)
        freed += connection.execute(f"SELECT coalesce(sum(bytes), 0) {which}", span).fetchone()[0]
        connection.execute(f"DELETE {which}", span)
    return freed


def _save(connection: sqlite3.Connection, producers: Iterable[Producer]) -> None:
    """Write these producers as they are, whether the file knows them or not."""
    connection.executemany("INSERT OR REPLACE INTO producer VALUES (?, ?, ?, ?, ?)", [one.row() for one in producers])


def _delete_rows(connection: sqlite3.Connection, run: int) -> int:
    freed: int = connection.execute("SELECT coalesce(sum(bytes), 0) FROM chunk WHERE run = ?", (run,)).fetchone()[0]
    connection.execute("DELETE FROM chunk WHERE run = ?", (run,))
    return freed


def _delete_producer(connection: sqlite3.Connection, run: int) -> int:
    freed = _delete_rows(connection, run)
    connection.execute("DELETE FROM producer WHERE run = ?", (run,))
    return freed
