"""What of one feed waits on disk: chunks of messages by producer, in one file that one process owns.

The rule: what is returned from `append` survives the process, and only a confirmed row is ever deleted without a report; deleting
is lazy, because a replay is harmless.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from ingest.clock import wall_us
from ingest.delivery import chunks
from ingest.delivery.entry import Entry
from ingest.delivery.spool_file import Fsync, Row, SpoolFile
from ingest.delivery.spool_lock import SlotLock, lock_lowest, slots_in_use, try_lock
from ingest.errors import SpoolDamaged, SpoolError, SpoolFull

#: Set aside are at most so many messages; of more, the oldest go.
MOST_REJECTED = 1000

_SEQ = attrgetter("seq")


class StoredProducer(NamedTuple):
    """A producer and what is stored of it; ``first`` and ``last`` are 0 where there are no rows."""

    id: str
    epoch: int | None
    confirmed: int
    late: bool
    messages: int
    size: int
    first: int
    last: int


@dataclass(slots=True)
class _Producer:
    run: int
    id: str
    epoch: int | None
    confirmed: int
    late: bool
    written: int  # what the file has of ``confirmed``

    def row(self) -> Row:
        return self.run, self.id, self.epoch, self.confirmed, int(self.late)


class _Decoded(NamedTuple):
    run: int
    entries: list[Entry]


class Spool:
    """The spool of one feed and slot. Any thread may call, one at a time.

    Every method may raise a `SpoolError`: `SpoolFull` (the disk takes no more, and the ballast did not help), `SpoolDamaged`
    (then `set_aside` is the way on) or `SpoolUnusable`.
    """

    def __init__(self, lock: SlotLock, *, max_bytes: int, fsync: Fsync) -> None:
        self.slot = lock.slot
        self.path = lock.path
        #: Bytes of the chunks held; rows that are confirmed and not yet deleted count.
        self.size = 0
        #: Where the file is now that was here and could not be read; None if all was well.
        self.set_aside_at_open: Path | None = None
        self._lock = lock
        self._max_bytes = max_bytes
        self._producers: dict[str, _Producer] = {}
        self._decoded: _Decoded | None = None
        self._file = SpoolFile(lock.path, fsync)
        self.set_aside_at_open = self._file.set_aside
        try:
            self._load()
        except SpoolDamaged:
            self.set_aside_at_open = self.set_aside()

    def producers(self) -> list[StoredProducer]:
        """Return the producers in the order in which they were added, and what is stored of each."""
        held = {
            run: totals
            for run, *totals in self._file.rows(
                "SELECT run, sum(messages), sum(bytes), min(first), max(last) FROM chunk GROUP BY run ORDER BY run"
            )
        }
        return [
            StoredProducer(one.id, one.epoch, one.confirmed, one.late, *held.get(one.run, (0, 0, 0, 0)))
            for one in self._producers.values()
        ]

    def add(self, producer: str) -> None:
        """Store a candidate, durably, before it asks for the lease; one that is known stays as it is."""
        if producer in self._producers:
            return
        insert = "INSERT INTO producer (id, confirmed, late) VALUES (?, 0, 0)"
        run = self._file.write(lambda connection: connection.execute(insert, (producer,)).lastrowid, durable=True, ballast=True)
        assert run is not None
        self._producers[producer] = _Producer(run, producer, epoch=None, confirmed=0, late=False, written=0)

    def taken(self, producer: str, epoch: int) -> None:
        """Store, durably, that a candidate has the lease."""
        one = self._producers[producer]
        update = "UPDATE producer SET epoch = ? WHERE run = ?"
        self._file.write(lambda connection: connection.execute(update, (epoch, one.run)), durable=True, ballast=True)
        one.epoch = epoch

    def mark_late(self, producers: Iterable[str]) -> None:
        """Store, durably, that what is held of these comes late."""
        late = [self._producers[producer] for producer in producers]
        update = "UPDATE producer SET late = 1 WHERE run = ?"
        self._file.write(
            lambda connection: connection.executemany(update, [(one.run,) for one in late]), durable=True, ballast=True
        )
        for one in late:
            one.late = True

    def append(self, producer: str, entries: Sequence[Entry], *, final: bool = False) -> None:
        """Store entries, all of them or, raising `SpoolFull`, none.

        The limit is checked before adding, so what fits is overshot by at most one call. ``final``: at a stop; without the limit,
        durably, and at the cost of the ballast.
        """
        if not entries:
            return
        run = self._producers[producer].run
        if not final:
            self._check_room()
        rows = [_row(run, chunk) for chunk in chunks.cut(entries)]
        self.size += self._file.write(lambda connection: self._store(connection, rows), durable=final, ballast=final)

    def read(self, producer: str, after: int, messages: int, size: int) -> list[Entry]:
        """Return the next entries with a number above ``after``, so many and so many bytes, but at least one if there is one."""
        run = self._producers[producer].run
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

    def confirm(self, producer: str, seq: int) -> None:
        """Note that everything up to this number is in Redis; `flush` writes it and deletes the rows."""
        one = self._producers[producer]
        one.confirmed = max(one.confirmed, seq)

    def flush(self) -> None:
        """Write what was confirmed, delete those rows and give their space back; what fails is tried again by the next call."""
        moved = [one for one in self._producers.values() if one.confirmed > one.written]
        with suppress(SpoolError):
            try:
                if moved:
                    self.size -= self._file.write(lambda connection: _delete_confirmed(connection, moved), ballast=True)
            except SpoolFull:
                if self._holds_unconfirmed():
                    raise
                self._begin_anew(keep_old=False)
            for one in moved:
                one.written = one.confirmed
            self._file.tidy()

    def drop_oldest(self, producer: str, after: int, size: int) -> list[tuple[int, int, int, int]]:
        """Drop whole chunks that begin above ``after``, oldest first, until so many bytes are free.

        Return what was dropped: (first, last, messages, bytes) of each.
        """
        run = self._producers[producer].run
        query = "SELECT first, last, messages, bytes FROM chunk WHERE run = ? AND first > ? ORDER BY first"
        dropped: list[tuple[int, int, int, int]] = []
        with closing(self._file.each(query, (run, after))) as rows:
            for first, last, messages, held in rows:
                if size <= 0:
                    break
                dropped.append((first, last, messages, held))
                size -= held
        if dropped:
            delete = "DELETE FROM chunk WHERE run = ? AND first BETWEEN ? AND ?"
            span = (run, dropped[0][0], dropped[-1][0])
            self._file.write(lambda connection: connection.execute(delete, span), ballast=True)
            self.size -= sum(held for _, _, _, held in dropped)
            self._decoded = None
        return dropped

    def reject(self, producer: str, entry: Entry, detail: str) -> None:
        """Set a message aside that Redis does not take, for a person to look at."""
        columns = (wall_us(), detail, producer, entry.seq, entry.last, entry.queue, entry.id, entry.data, entry.received_us)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO rejected VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", columns)
            connection.execute("DELETE FROM rejected WHERE number <= (SELECT max(number) FROM rejected) - ?", (MOST_REJECTED,))

        self._file.write(work, ballast=True)

    def forget(self, producer: str) -> None:
        """Delete a producer and all that is stored of it."""
        run = self._producers[producer].run
        self.size -= self._file.write(lambda connection: _delete_producer(connection, run), ballast=True)
        del self._producers[producer]
        self._decoded = None

    def save_gaps(self, records: Sequence[bytes]) -> None:
        """Store, durably, the gap records that Redis does not have yet, in place of those stored before."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM gap")
            connection.executemany("INSERT INTO gap (record) VALUES (?)", [(record,) for record in records])

        self._file.write(work, durable=True, ballast=True)

    def take_gaps(self) -> list[bytes]:
        """Return the gap records that were stored.

        They stay until `save_gaps` says what is left of them, so that a crash loses none; Redis adds no record twice.
        """
        return [record for (record,) in self._file.rows("SELECT record FROM gap ORDER BY number")]

    def set_aside(self) -> Path:
        """Give the damaged file another name and begin a new one, which knows the same producers but none of their rows."""
        aside = self._begin_anew(keep_old=True)
        assert aside is not None
        return aside

    def close(self) -> None:
        """Flush, close and let go of the slot; what would be an empty file is removed."""
        try:
            self.flush()
            useless = False
            with suppress(SpoolError):
                useless = self._prune()
            self._file.close(unlink=useless)
        finally:
            self._lock.release()

    def _load(self) -> None:
        for run, name, epoch, confirmed, late in self._file.rows(
            "SELECT run, id, epoch, confirmed, late FROM producer ORDER BY run"
        ):
            self._producers[name] = _Producer(run, name, epoch, confirmed, bool(late), written=confirmed)
        ((self.size,),) = self._file.rows("SELECT coalesce(sum(bytes), 0) FROM chunk")

    def _check_room(self) -> None:
        if self.size >= self._max_bytes:
            self.flush()
        if self.size >= self._max_bytes:
            raise SpoolFull(str(self.path), f"it holds {self.size} bytes, and spool.max_bytes is {self._max_bytes}")
        if not self._file.has_room:
            raise SpoolFull(str(self.path), "the disk is full")

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
        if decoded is not None and decoded.run == run and decoded.entries[0].seq <= after + 1 <= decoded.entries[-1].seq:
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
        run, first, last, messages, _, crc, data = row
        if chunks.checksum(run, first, last, messages, data) != crc:
            raise SpoolDamaged(str(self.path), f"messages {first} to {last} are not what was written")
        return chunks.unpack(data)

    def _holds_unconfirmed(self) -> bool:
        newest = "SELECT last FROM chunk WHERE run = ? ORDER BY first DESC LIMIT 1"
        return any(last > one.confirmed for one in self._producers.values() for (last,) in self._file.rows(newest, (one.run,)))

    def _begin_anew(self, *, keep_old: bool) -> Path | None:
        tables = {"producer": [one.row() for one in self._producers.values()]}
        for name in ("gap", "rejected"):
            with suppress(SpoolError):  # as much as can be read
                tables[name] = self._file.rows(f"SELECT * FROM {name}")  # noqa: S608 -- names of ours
        self._decoded = None
        self.size = 0
        return self._file.begin_anew(tables, keep_old=keep_old)

    def _prune(self) -> bool:
        """Forget the producers that nobody will ask for; return whether there is nothing left to keep the file for.

        The newest that had the lease is kept: it shows later whether Redis has forgotten.
        """
        holding = {run for (run,) in self._file.rows("SELECT DISTINCT run FROM chunk")}
        newest = max((one.run for one in self._producers.values() if one.epoch is not None), default=None)
        for one in list(self._producers.values()):
            if one.run not in holding and one.run != newest:
                self.forget(one.id)
        ((others,),) = self._file.rows("SELECT (SELECT count(*) FROM gap) + (SELECT count(*) FROM rejected)")
        return not self._producers and not others


def acquire(directory: Path, feed: str, *, max_bytes: int, fsync: Fsync) -> Spool:
    """Open the lowest slot of a feed that no running process has."""
    return _opened(lock_lowest(directory, feed), max_bytes, fsync)


def adopt(directory: Path, feed: str, *, max_bytes: int, fsync: Fsync) -> list[Spool]:
    """Open every other slot that ended processes have left something in, lowest first."""
    adopted: list[Spool] = []
    try:
        for slot in slots_in_use(directory, feed):
            lock = try_lock(directory, feed, slot)
            if lock is None:
                continue
            if not lock.path.exists():  # its owner has just removed it
                lock.release()
                continue
            spool = _opened(lock, max_bytes, fsync)
            if spool.producers() or spool.take_gaps() or spool.set_aside_at_open:
                adopted.append(spool)
            else:
                spool.close()
    except SpoolError:
        for spool in adopted:
            spool.close()
        raise
    return adopted


def _opened(lock: SlotLock, max_bytes: int, fsync: Fsync) -> Spool:
    try:
        return Spool(lock, max_bytes=max_bytes, fsync=fsync)
    except BaseException:
        lock.release()
        raise


def _row(run: int, entries: Sequence[Entry]) -> Row:
    data = chunks.pack(entries)
    first, last, count = entries[0].seq, entries[-1].last, len(entries)
    return run, first, last, count, len(data), chunks.checksum(run, first, last, count, data), data


def _fitting(entries: Sequence[Entry], size: int, at_least: int) -> int:
    """Return how many of the entries fit into so many bytes."""
    if sum([len(entry.data) for entry in entries]) <= size:
        return len(entries)
    for count, entry in enumerate(entries):
        size -= len(entry.data)
        if size < 0:
            return max(count, at_least)
    return len(entries)


def _delete_confirmed(connection: sqlite3.Connection, producers: Iterable[_Producer]) -> int:
    freed = 0
    for one in producers:
        connection.execute("UPDATE producer SET confirmed = ? WHERE run = ?", (one.confirmed, one.run))
        which = "FROM chunk WHERE run = ? AND first <= ? AND last <= ?"
        span = (one.run, one.confirmed, one.confirmed)
        freed += connection.execute(f"SELECT coalesce(sum(bytes), 0) {which}", span).fetchone()[0]
        connection.execute(f"DELETE {which}", span)
    return freed


def _delete_producer(connection: sqlite3.Connection, run: int) -> int:
    freed: int = connection.execute("SELECT coalesce(sum(bytes), 0) FROM chunk WHERE run = ?", (run,)).fetchone()[0]
    connection.execute("DELETE FROM chunk WHERE run = ?", (run,))
    connection.execute("DELETE FROM producer WHERE run = ?", (run,))
    return freed
