"""What of one feed waits on disk: chunks of messages by producer, in one file that one process owns.

The rule: what is returned from `append` survives the process, and only a confirmed row is ever deleted without a report; deleting
is lazy, because a replay is harmless.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ingest.clock import wall_us
from ingest.delivery.entry import Entry
from ingest.delivery.spool_file import Fsync, SpoolFile
from ingest.delivery.spool_lock import SlotLock, lock_unused
from ingest.delivery.spool_producers import SpoolProducers
from ingest.delivery.spool_rows import NOTHING, ChunkRows, DroppedChunk
from ingest.errors import SpoolDamaged, SpoolError, SpoolForeign, SpoolFull

_REMEDY = "give each group a spool.directory of its own, or start the other once more to have them sent"

#: Set aside are at most so many messages; of more, the oldest go.
MOST_REJECTED = 1000

#: A bid of a process that ended so many starts ago is certainly answered.
MOST_CANDIDATES = 10


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


class Spool:
    """The spool of one feed and slot. Any thread may call, one at a time.

    Every method may raise a `SpoolError`: `SpoolFull` (the disk takes no more, and the ballast did not help), `SpoolDamaged`
    (then `set_aside` is the way on) or `SpoolUnusable`.
    """

    def __init__(self, lock: SlotLock, *, max_bytes: int, fsync: Fsync, owner: str = "") -> None:
        self.slot = lock.slot
        self.path = lock.path
        #: Where the file is now that was here and could not be read; None if all was well.
        self.set_aside_at_open: Path | None = None
        self._lock = lock
        self._max_bytes = max_bytes
        self._taken_gaps = 0
        self._closed = False
        self._file = SpoolFile(lock.path, fsync)
        self._rows = ChunkRows(self._file)
        self._producers = SpoolProducers(self._rows)
        self.set_aside_at_open = self._file.set_aside
        try:
            self._load()
        except SpoolDamaged:
            self.set_aside_at_open = self.set_aside()
        except SpoolError:
            self._file.close(unlink=False)
            raise
        if owner:
            self._belong_to(owner)

    @property
    def is_in_place(self) -> bool:
        """Whether the file still has its name: nobody has removed it, or its folder."""
        return self._file.is_in_place

    @property
    def size(self) -> int:
        """Bytes of the chunks held; rows that are confirmed and not yet deleted count."""
        return self._rows.size

    @property
    def leader(self) -> str:
        """The newest producer that led while a process had this file; "" if none did."""
        return self._producers.leader

    @property
    def holds_gaps(self) -> bool:
        """Whether there are gap records, taken or not."""
        return bool(self._file.rows("SELECT 1 FROM gap LIMIT 1"))

    @property
    def candidates(self) -> list[str]:
        """The newest of the producers that are not known to have led."""
        return [one.id for one in self._producers if one.epoch is None][-MOST_CANDIDATES:]

    def producers(self) -> list[StoredProducer]:
        """Return the producers in the order in which they were added, and what is stored of each."""
        held = self._rows.totals()
        return [
            StoredProducer(one.id, one.epoch, one.confirmed, one.late, *held.get(one.run, NOTHING)) for one in self._producers
        ]

    def add(self, producer: str) -> None:
        """Store a candidate, durably, before it asks for the lease; one that is known stays as it is."""
        self._producers.add(producer)

    def lead(self, producer: str, epoch: int, forgotten: Sequence[str] = ()) -> None:
        """Store who leads while this process has the file, and forget some (`SpoolProducers.lead`)."""
        self._producers.lead(producer, epoch, forgotten)

    def mark_late(self, producers: Iterable[str]) -> None:
        """Store, durably, that what is held of these comes late."""
        self._producers.mark_late(producers)

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
        self._producers.write_unsaved()
        self._rows.append(run, entries, final=final)

    def read(self, producer: str, after: int, messages: int, size: int) -> list[Entry]:
        """Return the next entries with a number above ``after``, so many and so many bytes, but at least one if there is one."""
        return self._rows.read(self._producers[producer].run, after, messages, size)

    def confirm(self, producer: str, seq: int) -> None:
        """Note that everything up to this number is in Redis; `flush` writes it and deletes the rows."""
        one = self._producers[producer]
        one.confirmed = max(one.confirmed, seq)

    def flush(self) -> None:
        """Write what was confirmed, delete those rows and give their space back; what fails is tried again by the next call."""
        moved = [one for one in self._producers if one.confirmed > one.flushed]
        with suppress(SpoolError):
            spare = self._file.free_pages()
            try:
                if moved:
                    self._rows.delete_confirmed(moved)
            except SpoolFull:
                if self._holds_unconfirmed():
                    raise
                self._begin_anew(keep_old=False)
            self._producers.write_unsaved()
            for one in moved:
                one.flushed = one.confirmed
            self._file.tidy(spare)

    def drop_oldest(self, producer: str, after: int, size: int) -> list[DroppedChunk]:
        """Drop whole chunks that begin above ``after``, oldest first, until so many bytes are free; return what was dropped."""
        return self._rows.drop(self._producers[producer].run, after, size)

    def reject(self, producer: str, entry: Entry, detail: str) -> None:
        """Set a message aside that Redis does not take, for a person to look at."""
        columns = (wall_us(), detail, producer, entry.seq, entry.last, entry.queue, entry.id, entry.data, entry.received_us)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO rejected VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", columns)
            connection.execute("DELETE FROM rejected WHERE number <= (SELECT max(number) FROM rejected) - ?", (MOST_REJECTED,))

        self._file.write(work, ballast=True)

    def clear(self, producer: str) -> None:
        """Delete, durably, all that is stored of a producer, which stays known."""
        self._rows.clear(self._producers[producer].run)

    def forget(self, producer: str) -> None:
        """Delete a producer and all that is stored of it."""
        self._producers.forget(producer)

    def save_gaps(self, records: Sequence[bytes]) -> None:
        """Store, durably, gap records that Redis does not have yet."""
        insert = "INSERT INTO gap (record) VALUES (?)"
        rows = [(record,) for record in records]
        self._file.write(lambda connection: connection.executemany(insert, rows), durable=True, ballast=True)

    def take_gaps(self) -> list[bytes]:
        """Return the gap records that were stored and not yet taken.

        They stay on disk until `close`, so that a crash loses none; Redis adds no record twice. What could not be brought there
        by then is to be saved again.
        """
        rows = self._file.rows("SELECT number, record FROM gap WHERE number > ? ORDER BY number", (self._taken_gaps,))
        self._taken_gaps = max([self._taken_gaps, *(number for number, _ in rows)])
        return [record for _, record in rows]

    def set_aside(self) -> Path:
        """Give the damaged file another name and begin a new one, which knows the same producers but none of their rows."""
        aside = self._begin_anew(keep_old=True)
        assert aside is not None
        return aside

    def move(self) -> None:
        """Write all there is to a new file, since the one that is open lost its name; `SpoolUnusable` if there is no place."""
        lock = self._lock
        if not lock.is_in_place or lock.path.exists():
            lock = lock_unused(lock.directory, lock.feed)
        try:
            self._file.write_anew(lock.path)
        except BaseException:
            if lock is not self._lock:
                lock.release()
            raise
        if lock is not self._lock:
            self._lock.release()
        self._lock, self.slot, self.path = lock, lock.slot, lock.path

    def close(self) -> None:
        """Flush, close and let go of the slot; what would be an empty file is removed."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
            useless = False
            with suppress(SpoolError):
                useless = self._prune()
            self._file.close(unlink=useless)
        finally:
            self._lock.release()

    def _load(self) -> None:
        self._producers.load(self._file)
        self._rows.count()

    def _belong_to(self, owner: str) -> None:
        """Be the spool of these; `SpoolForeign` if it holds what others have to send.

        A file that does not say whose it is was begun before they did, and is ours.
        """
        try:
            found = self._file.owner
            if found not in ("", owner) and (self._holds_unconfirmed() or self.holds_gaps):
                raise SpoolForeign(str(self.path), f"it holds messages of {found}, and this is {owner}; {_REMEDY}")
            if found != owner:
                with suppress(SpoolFull):  # to have it told is worth no start on a full disk
                    self._take_over(owner, strangers=found != "")
        except SpoolError:
            self._file.close(unlink=False)
            raise

    def _take_over(self, owner: str, *, strangers: bool) -> None:
        """Write down whose it is; what is known of ``strangers``' leaders says nothing of ours."""
        if strangers:
            for one in self._producers:
                self.forget(one.id)
            self._file.write(lambda connection: connection.execute("DELETE FROM leader"), durable=True, ballast=True)
            self._producers.leader = ""
        self._file.set_owner(owner)

    def _check_room(self) -> None:
        if self.size >= self._max_bytes:
            self.flush()
        if self.size >= self._max_bytes:
            raise SpoolFull(str(self.path), f"it holds {self.size} bytes, and spool.max_bytes is {self._max_bytes}")
        if not self._file.has_room:
            raise SpoolFull(str(self.path), "the disk is full")

    def _holds_unconfirmed(self) -> bool:
        return any(self._rows.newest(one.run) > one.confirmed for one in self._producers)

    def _begin_anew(self, *, keep_old: bool) -> Path | None:
        owner = ""
        tables = self._producers.tables()
        for name in ("gap", "rejected"):
            with suppress(SpoolError):  # as much as can be read
                tables[name] = self._file.rows(f"SELECT * FROM {name}")  # noqa: S608 -- names of ours
        with suppress(SpoolError):
            owner = self._file.owner
        self._rows.emptied()
        self._producers.note_unsaved()
        self._taken_gaps = 0
        aside = self._file.begin_anew(tables, keep_old=keep_old)
        if owner:
            self._file.set_owner(owner)
        self._producers.note_saved()
        return aside

    def _prune(self) -> bool:
        """Forget the producers and gaps that nobody will ask for; return whether there is nothing left to keep the file for.

        The newest that had the lease is kept: it shows later whether Redis has forgotten. Where messages wait, the candidates
        after it are too: an answer that never came may have made one of them the leader.
        """
        holding = self._rows.totals()
        newest = max((one.run for one in self._producers if one.epoch is not None), default=None)
        for one in self._producers:
            if one.run not in holding and one.run != newest and not (holding and one.epoch is None):
                self.forget(one.id)
        taken = (self._taken_gaps,)
        self._file.write(lambda connection: connection.execute("DELETE FROM gap WHERE number <= ?", taken), ballast=True)
        return not self._producers and not self.holds_gaps and not self._file.rows("SELECT 1 FROM rejected LIMIT 1")


def opened(lock: SlotLock, *, max_bytes: int, fsync: Fsync, owner: str) -> Spool:
    """Open the spool of a slot; the lock is let go of if that fails."""
    try:
        return Spool(lock, max_bytes=max_bytes, fsync=fsync, owner=owner)
    except BaseException:
        lock.release()
        raise
