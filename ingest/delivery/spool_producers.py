"""The producers of a spool: what this process knows of them, and what of that the file does not know yet.

The rule: memory is never behind the file: what a disk refuses stays noted as unsaved, and goes with the next write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ingest.delivery.spool_file import Row, SpoolFile
from ingest.delivery.spool_rows import ChunkRows, Producer


class SpoolProducers:
    """The tables ``producer`` and ``leader`` of an open file. Every method that writes may raise a `SpoolError`."""

    def __init__(self, rows: ChunkRows) -> None:
        #: The newest producer that led while a process had this file; "" if none did.
        self.leader = ""
        self._rows = rows
        self._known: dict[str, Producer] = {}
        self._last_run = 0
        self._unsaved: set[str] = set()  # producers that the file does not, or not durably, know as they are
        self._leader_unsaved = False

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Producer]:
        """Yield them in the order in which they were added; of a copy, so that they may be forgotten meanwhile."""
        return iter(list(self._known.values()))

    def __getitem__(self, producer: str) -> Producer:
        return self._known[producer]

    def load(self, file: SpoolFile) -> None:
        """Take what the file knows."""
        for run, name, epoch, confirmed, late in file.rows("SELECT run, id, epoch, confirmed, late FROM producer ORDER BY run"):
            self._known[name] = Producer(run, name, epoch, confirmed, bool(late), flushed=-1)
        self.leader = next((name for (name,) in file.rows("SELECT id FROM leader")), "")
        ((self._last_run,),) = file.rows("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")

    def add(self, producer: str) -> None:
        """Store a candidate, durably, before it asks for the lease; one that is known stays as it is."""
        if producer in self._known:
            return
        self._save([Producer(self._last_run + 1, producer)])

    def lead(self, producer: str, epoch: int, forgotten: Sequence[str] = ()) -> None:
        """Store who leads while this process has the file, and forget some of which nothing is stored.

        With its epoch, if it is in this file: its own messages may be in another. It is durable at once where messages wait:
        without it, they would count as overtaken after a power cut. Else by the next `write_unsaved`: a hundred feeds may change
        their leader at once.
        """
        if producer in self._known:
            self._known[producer] = replace(self._known[producer], epoch=epoch)
            self._unsaved.add(producer)
        self.leader, self._leader_unsaved = producer, True
        self._unsaved.difference_update(forgotten)
        waiting = self._rows.totals()
        durable = any(one.run in waiting and not one.late for one in self._known.values())
        self.write_unsaved([self._known.pop(each).run for each in forgotten], durable=durable)

    def mark_late(self, producers: Iterable[str]) -> None:
        """Store, durably, that what is held of these comes late."""
        self._save([replace(self._known[producer], late=True) for producer in producers])

    def forget(self, producer: str) -> None:
        """Delete a producer and all that is stored of it."""
        self._rows.delete_producer(self._known[producer].run)
        del self._known[producer]
        self._unsaved.discard(producer)

    def write_unsaved(self, forgotten: Sequence[int] = (), *, durable: bool = True) -> None:
        """Write, in one transaction, what the file does not know yet, and delete these runs; if not durably, once more later."""
        if not (self._unsaved or self._leader_unsaved or forgotten):
            return
        unsaved = [one for one in self._known.values() if one.id in self._unsaved]
        self._rows.save(unsaved, self.leader if self._leader_unsaved else None, forgotten, durable=durable)
        if durable:
            self.note_saved()

    def tables(self) -> dict[str, list[Row]]:
        """Return the rows of a file that knows all that is known here."""
        tables: dict[str, list[Row]] = {"producer": [one.row() for one in self._known.values()]}
        if self.leader:
            tables["leader"] = [(1, self.leader)]
        return tables

    def note_unsaved(self) -> None:
        """Note that the file is about to be a new one, which may know nothing."""
        self._unsaved.update(self._known)
        self._leader_unsaved = bool(self.leader)

    def note_saved(self) -> None:
        """Note that the file knows, durably, all that is known here."""
        self._unsaved.clear()
        self._leader_unsaved = False

    def _save(self, producers: Sequence[Producer]) -> None:
        """Store producers as they are to be from now on; if the disk refuses, the next write or flush tries again."""
        for one in producers:
            self._known[one.id] = one
            self._last_run = max(self._last_run, one.run)
        self._unsaved.update(one.id for one in producers)
        self.write_unsaved()
