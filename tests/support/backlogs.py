"""A backlog with everything it tells kept: in memory alone, or with a real spool in a folder."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Literal

from ingest.delivery.backlog import Backlog, Bounds, Chain
from ingest.delivery.entry import Entry
from ingest.delivery.losses import Losses
from ingest.delivery.spool import Spool
from ingest.delivery.spool_folder import SpoolFolder
from ingest.delivery.spool_lock import Listing
from ingest.delivery.store import Store
from ingest.events import Event, FramesDropped
from tests.support.connections import ManualClock
from tests.support.spools import LARGE


class KeptBacklog:
    """One feed's backlog, its chain ("p", which leads), and what was told of it.

    Parameters:
      folder: where its spool is; None: there is none.
      most: bytes that the spool may hold.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        messages: int = 10,
        size: int = 1 << 20,
        overflow: Literal["block", "drop_oldest", "drop_newest"] = "block",
        write_ahead: bool = False,
        most: int = LARGE,
        durable: bool = True,
        producer: str = "p",
        epoch: int = 1,
    ) -> None:
        self.clock = ManualClock()
        self.events: list[Event] = []
        self.spooling: list[bool] = []
        self.rooms = 0
        self.losses = Losses("trades", "label", self.events.append, clock=self.clock)
        self.store = None if folder is None else kept_store(folder, self.events, self.clock, most=most, durable=durable)
        self.backlog = Backlog(
            Bounds(messages, size, overflow, write_ahead),
            self.losses,
            self.store,
            spooling=self.spooling.append,
            on_room=self._room,
            clock=self.clock,
        )
        self.chain = self.lead(producer, epoch)

    @property
    def spool(self) -> Spool:
        assert self.store is not None
        return self.store._own

    def lead(self, producer: str, epoch: int) -> Chain:
        """Begin a tenure."""
        self.backlog.propose(producer)
        return self.backlog.open(producer, epoch)

    def put(self, entries: Sequence[Entry]) -> None:
        self.backlog.put(self.chain, entries)

    def take(self, messages: int = 1000, size: int = 1_000_000) -> list[int]:
        """Take the next entries; return their numbers."""
        return [entry.seq for entry in self.backlog.take(self.chain, messages, size)]

    def commit(self, seq: int) -> list[int]:
        return [entry.seq for entry in self.backlog.commit(self.chain, seq)]

    def deliver_all(self, messages: int = 1000) -> list[int]:
        """Take and commit, chain by chain, until nothing is left; return the numbers."""
        delivered: list[int] = []
        for chain in self.backlog.chains:
            self.backlog.rewind(chain)
            while entries := self.backlog.take(chain, messages, 1_000_000):
                delivered += [entry.seq for entry in entries]
                self.backlog.commit(chain, entries[-1].last)
        return delivered

    def tidy(self) -> None:
        """Let the time pass after which the disk is told what is confirmed."""
        self.clock.now += 1.0
        self.backlog.tidy()

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if type(event) is kind]

    def dropped(self) -> list[tuple[int, int, int]]:
        """Return what was told of drops that are over: (first, last, count)."""
        return [(e.first_seq, e.last_seq, e.count) for e in self.events if isinstance(e, FramesDropped)]

    def _room(self) -> None:
        self.rooms += 1


class NotedFolder(SpoolFolder):
    """A folder, listed anew each time, that notes what was opened in it."""

    def __init__(self, folder: Path, opened: list[Spool], most: int = LARGE, feed: str = "trades") -> None:
        super().__init__(Listing(folder, count().__next__), feed, max_bytes=most, fsync="batch")
        self._opened = opened

    def acquire(self) -> Spool:
        self._opened.append(super().acquire())
        return self._opened[-1]

    def adopt(self) -> list[Spool]:
        adopted = super().adopt()
        self._opened.extend(adopted)
        return adopted


def kept_store(
    folder: Path,
    events: list[Event],
    clock: ManualClock | None = None,
    *,
    most: int = LARGE,
    durable: bool = True,
    feed: str = "trades",
) -> Store:
    """Return a store on the lowest free slot of a feed in this folder; its files are closed with it at the latest."""
    opened: list[Spool] = []
    noted = NotedFolder(folder, opened, most, feed)
    store = Store(
        noted.acquire(),
        noted,
        feed=feed,
        most=most,
        durable=durable,
        label="label",
        tell=events.append,
        clock=clock or ManualClock(),
    )
    weakref.finalize(store, lambda: [spool.close() for spool in opened])
    return store


def damage(spool: Spool) -> None:
    """Change a byte of the data of every chunk, as a bad disk would."""
    spool._file.write(lambda connection: connection.execute("UPDATE chunk SET data = CAST(x'00' || substr(data, 2) AS BLOB)"))
    spool._rows._decoded = None
