"""Where messages wait: memory, then disk, then whatever `overflow` says.

The rule: no lock and no chains of its own; the backlog calls it with its lock held. A new message goes to memory if nothing of
its chain is unread on disk and memory has a place, else to disk: so memory, then disk, is the order within a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain as joined
from itertools import groupby
from operator import attrgetter
from typing import Literal, NamedTuple

from ingest.delivery.chain import Chain
from ingest.delivery.entry import Entry, payloads_in, sizes_of
from ingest.delivery.losses import Losses
from ingest.delivery.store import Store
from ingest.events import DropReason

#: A full backlog has room again at this part of its limits, so that reading does not stop and start with every batch.
ROOM_AGAIN = 0.75

#: How much is brought back from the disk at once.
_READ_MESSAGES, _READ_BYTES = 1000, 1_000_000

_STORED = attrgetter("stored")

Overflow = Literal["block", "drop_oldest", "drop_newest"]


class Bounds(NamedTuple):
    """What memory may hold, what happens when all is full, and whether messages are on disk before they can be sent."""

    messages: int
    bytes: int
    overflow: Overflow = "block"
    write_ahead: bool = False


class Tiers:
    """Memory and disk of one feed.

    Attributes:
      count, bytes: messages in memory, and the size of their data.
    """

    def __init__(self, bounds: Bounds, losses: Losses, store: Store | None, spooling: Callable[[bool], None]) -> None:
        self.count = 0
        self.bytes = 0
        self._bounds = bounds
        self._again = (int(bounds.messages * ROOM_AGAIN), int(bounds.bytes * ROOM_AGAIN))
        self._losses = losses
        self._store = store
        self._tell_spooling = spooling
        self._spooling = False
        self._first_on_disk: tuple[tuple[str, int, int], Entry | None] | None = None  # and of what it is the first

    def has_place(self, chain: Chain) -> bool:
        """Tell whether what comes next has a place: in memory, or on disk if it must go there."""
        if self._store is None:
            return self._memory_has_place()
        if chain.tail:
            return False
        if chain.unread or self._bounds.write_ahead or not self._memory_has_place():
            return not self._store.is_full
        return True

    def has_room_again(self, chain: Chain) -> bool:
        """Tell whether so much has gone that it is worth reading again after all was full."""
        memory = self.count <= self._again[0] and self.bytes <= self._again[1]
        if self._store is None:
            return memory
        if chain.tail or chain.unread or self._bounds.write_ahead or not memory:
            return not chain.tail and self._store.has_room_again
        return True

    def put(self, chain: Chain, entries: Sequence[Entry]) -> None:
        """Keep entries, or give up as many as ``overflow`` says."""
        if not self.has_place(chain) and self._bounds.overflow != "block":  # else: of the read that was under way
            placed = self._bounds.overflow == "drop_oldest" and self._drop_oldest(chain, entries)
            if not placed:
                self._give_up(chain, entries, self._bounds.overflow)
                return
        if self._store is None:
            self._remember(chain, entries)
        else:
            self._keep(chain, entries, self._store)

    def load(self, chain: Chain) -> None:
        """Bring the next messages of a chain into memory from the disk, or from behind it."""
        if chain.unread and (read := self._read(chain)):
            self._remember(chain, read)
        if not chain.unread and chain.tail:
            chain.waiting.extend(chain.tail)
            chain.read_to = chain.tail[-1].last
            chain.tail.clear()
            chain.alone_to = chain.read_to
        if self._spooling and not chain.unread:
            self._spooling = False
            self._tell_spooling(False)

    def oldest(self, chain: Chain, *, ask_disk: bool) -> Entry | None:
        """Return the oldest entry of a chain; that of the disk where nothing is in memory, if it may be asked."""
        oldest = next(chain.in_memory_before_disk(), None)
        if oldest is None and chain.unread and ask_disk and self._store is not None:
            key = (chain.producer, chain.read_to, chain.unread)
            if self._first_on_disk is None or self._first_on_disk[0] != key:
                self._first_on_disk = key, next(iter(self._store.read(chain.producer, chain.read_to, 1, 1)), None)
            oldest = self._first_on_disk[1]
        return oldest if oldest is not None else next(iter(chain.tail), None)

    def let_go(self, entries: Sequence[Entry]) -> None:
        """Count these as no longer in memory."""
        self.count -= len(entries)
        self.bytes -= sum(sizes_of(entries))

    def discard(self, chain: Chain, reason: DropReason) -> int:
        """Give up all of a chain of which nothing is under way; return how many payloads that was."""
        entries = [*chain.waiting, *chain.tail]
        chain.waiting.clear()
        chain.tail.clear()
        self.let_go(entries)
        self._losses.drop(chain.producer, entries, reason)
        lost = payloads_in(entries)
        while chain.unread and (read := self._read(chain)):
            self._losses.drop(chain.producer, read, reason)
            lost += payloads_in(read)
        self._losses.end()
        return lost

    def unstored(self, chain: Chain) -> list[list[Entry]]:
        """Return what of a chain is in memory and not on disk, in order: a list for each stretch without anything stored."""
        before = joined(joined.from_iterable(chain.taken), chain.waiting)
        stretches = [list(stretch) for stored, stretch in groupby(before, _STORED) if not stored]
        return [*stretches, chain.tail[:]] if chain.tail else stretches

    def save(self, chain: Chain) -> int:
        """Bring all of a chain that is in memory to the disk; return how many payloads could not be, and are given up."""
        lost = 0
        for missing in self.unstored(chain):  # not in one, since a chunk that spans what is stored already would hide it
            if self._store is None or not self._store.append(chain.producer, missing, final=True):
                self._losses.drop(chain.producer, missing, "lost")
                lost += payloads_in(missing)
        self._losses.end()
        return lost

    def lose_unread(self, chain: Chain) -> None:
        """The file that held a chain's messages is set aside: what is in memory is all that is left."""
        chain.lose_disk()
        if chain.unread:
            first = chain.read_to + 1
            self._losses.lose(chain.producer, first, max(chain.newest, first), chain.unread_payloads, "damaged")
            chain.note_unkept(first, max(chain.newest, first))
            chain.unread = chain.unread_payloads = 0

    def _memory_has_place(self) -> bool:
        return self.count < self._bounds.messages and self.bytes < self._bounds.bytes

    def _keep(self, chain: Chain, entries: Sequence[Entry], store: Store) -> None:
        fits = not chain.unread and not chain.tail and self._memory_has_place()
        must_store = self._bounds.write_ahead or not fits
        if must_store and (chain.tail or not store.append(chain.producer, entries)):
            self._keep_behind(chain, entries)
        elif fits:
            self._remember(chain, [entry._replace(stored=True) for entry in entries] if must_store else entries)
        else:
            chain.unread += len(entries)
            chain.unread_payloads += payloads_in(entries)
            if not self._spooling:
                self._spooling = True
                self._tell_spooling(True)

    def _keep_behind(self, chain: Chain, entries: Sequence[Entry]) -> None:
        """The disk refused: keep what was read behind all that is stored, or give it up."""
        if self._bounds.overflow != "block":
            self._give_up(chain, entries, self._bounds.overflow)
            return
        chain.tail.extend(entries)
        self._count_in(entries)

    def _remember(self, chain: Chain, entries: Sequence[Entry]) -> None:
        chain.remember(entries)
        self._count_in(entries)

    def _count_in(self, entries: Sequence[Entry]) -> None:
        self.count += len(entries)
        self.bytes += sum(sizes_of(entries))

    def _give_up(self, chain: Chain, entries: Sequence[Entry], reason: DropReason) -> None:
        if entries:
            self._losses.drop(chain.producer, entries, reason)
            chain.note_unkept(entries[0].seq, entries[-1].last)

    def _drop_oldest(self, chain: Chain, entries: Sequence[Entry]) -> bool:
        """Drop from the tier that is full, nothing that was sent; tell whether there is a place for ``entries`` now."""
        size = sum(sizes_of(entries))
        if self._store is None:
            over = self.count + len(entries) - self._bounds.messages, self.bytes + size - self._bounds.bytes
            dropped = chain.drop_oldest(*over)
            self.let_go(dropped)
            self._give_up(chain, dropped, "drop_oldest")
            return self._memory_has_place()
        now_us = entries[0].received_us
        for first, last, messages, _, payloads, from_us, to_us in self._store.drop_oldest(chain.producer, chain.sent_to, size):
            in_memory = chain.drop_between(first, last)
            self.let_go(in_memory)
            chain.unread = max(0, chain.unread - (messages - len(in_memory)))
            chain.unread_payloads = max(0, chain.unread_payloads - (payloads - payloads_in(in_memory)))
            self._losses.drop_range(chain.producer, first, last, payloads, from_us or now_us, to_us or now_us, "drop_oldest")
            chain.note_unkept(first, last)
        return self.has_place(chain)

    def _read(self, chain: Chain) -> list[Entry]:
        assert self._store is not None, "nothing is unread without a disk"
        read = self._store.read(chain.producer, chain.read_to, _READ_MESSAGES, _READ_BYTES)
        if read:
            chain.read_to = read[-1].last
            # What an earlier process left is counted with what Redis may hold of it: it is over only when nothing comes.
            chain.unread = max(chain.unread - len(read), 1 if chain.earlier else 0)
            chain.unread_payloads = max(chain.unread_payloads - payloads_in(read), 0)
        else:
            chain.unread = chain.unread_payloads = 0
        return read
