"""What was read and is not yet confirmed by Redis, in order: the hand-over between the feed thread and the publish thread.

The rule: one lock; a message leaves only when it is confirmed, or when it is given up by name and counted (`Losses`); so whatever
happens to a connection, `rewind` brings back what was under way. Where messages wait is `ingest.delivery.tiers`'s business.

It is long because all that either thread may ask is a method here, under that one lock: mostly a line or two. What is decided is
in `chain`, `lineage` and `tiers`, which have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Condition
from typing import NamedTuple

from ingest.clock import Monotonic, monotonic
from ingest.delivery.chain import Chain
from ingest.delivery.entry import Entry, payloads_in
from ingest.delivery.lineage import Lineage
from ingest.delivery.losses import Losses
from ingest.delivery.places import LOOK_INTERVAL
from ingest.delivery.spool import StoredProducer
from ingest.delivery.store import Store
from ingest.delivery.tiers import Bounds, Tiers
from ingest.events import DropReason

__all__ = ["Backlog", "Bounds", "Chain", "Entry", "Saved"]

#: Seconds between two times that the disk is told what is confirmed.
_TIDY_INTERVAL = 0.5


class Saved(NamedTuple):
    """What became at the end of the payloads that Redis has not confirmed."""

    spooled: int
    lost: int


class Backlog:
    """Chains of messages, first in, first out, between two threads; bounded.

    The bound is for who asks `has_room` before reading: the frames of one read always fit, so the overshoot is one read.
    ``on_room`` is called (without the lock) when a full backlog has room again, and when what `notify_at` waits for has come; set
    it before the threads start.

    Parameters:
      losses: told of every message that is given up.
      store: the feed's spools; None: memory alone.
      spooling: called with True when messages begin to go to the disk, with False when none is there any more.

    Attributes:
      gathering_us: since when payloads are gathered for a message that is not here yet (wall-clock microseconds); None: there
        are none. The intake says so.
    """

    def __init__(
        self,
        bounds: Bounds,
        losses: Losses,
        store: Store | None = None,
        *,
        spooling: Callable[[bool], None] = lambda began: None,
        on_room: Callable[[], None] = lambda: None,
        clock: Monotonic = monotonic,
    ) -> None:
        self.on_room = on_room
        self.gathering_us: int | None = None
        # Where the oldest may be dropped from the disk, to be there is not to be safe.
        self._disk_is_safe = bounds.write_ahead and bounds.overflow != "drop_oldest"
        self._blocks = bounds.overflow == "block"
        self._losses = losses
        self._store = store
        self._tiers = Tiers(bounds, losses, store, spooling)
        self._clock = clock
        self._chains = Lineage(store)
        self._full = False
        self._closed = False
        self._woken = False
        self._notify_at: tuple[Chain, int] | None = None
        self._untidy = False
        self._tidied_at = clock()
        self._changed = Condition()
        if store is not None:
            store.gone = self._lose_unread

    def __len__(self) -> int:
        with self._changed:  # what is just brought from the disk into memory would be in neither
            return self._tiers.count + self.unread

    @property
    def size(self) -> int:
        """Bytes of data in memory."""
        return self._tiers.bytes

    @property
    def unread(self) -> int:
        """Messages that are on disk alone."""
        return sum([chain.unread for chain in self.chains])

    @property
    def unread_payloads(self) -> int:
        """The payloads in them."""
        return sum([chain.unread_payloads for chain in self.chains])

    @property
    def oldest_us(self) -> int | None:
        """When the oldest payload in memory was received; None if there is none."""
        gathering_us = self.gathering_us  # before we look: what is gathered now may be here by then
        with self._changed:
            oldest = next((entry for chain in self._chains for entry in chain.in_memory()), None)
        return oldest.received_us if oldest is not None else gathering_us

    @property
    def oldest_held_us(self) -> int | None:
        """When the oldest payload that waits was received, the disk's too (wall-clock microseconds); None if there is none.

        While nothing is in memory this may have to ask the disk, once for what lies there.
        """
        gathering_us = self.gathering_us
        with self._changed:
            for chain in self._chains:
                oldest = self._tiers.oldest(chain, ask_disk=not self._closed)
                if oldest is not None:
                    return oldest.received_us
        return gathering_us

    @property
    def spool_size(self) -> int:
        """Bytes on disk; what is confirmed and not yet deleted counts."""
        return self._store.size if self._store is not None else 0

    @property
    def spool_trouble(self) -> str:
        """What is wrong with the spool now, "" if nothing is."""
        return self._store.trouble if self._store is not None else ""

    @property
    def first(self) -> Chain | None:
        """The chain whose turn it is."""
        return self._chains.first

    @property
    def chains(self) -> list[Chain]:
        """All chains, oldest first."""
        return list(self._chains)

    def has_room(self) -> bool:
        """Tell whether reading may go on: always, if what has no place is given up."""
        return not (self._full and self._blocks)

    # What tenures do: chains begin, are fenced, and end.

    @property
    def newest(self) -> StoredProducer | None:
        """The newest producer that has led the feed before this process, if a spool tells of one."""
        return self._chains.newest_before

    def holds(self, producer: str) -> bool:
        """Whether a producer is in a spool that this process holds: then whoever made it is dead, if it was not us."""
        return self._chains.holds(producer)

    @property
    def candidates(self) -> list[str]:
        """The producers in our spools that may have led without knowing it; costs no disk."""
        with self._changed:
            return self._chains.candidates

    def propose(self, producer: str) -> None:
        """Write a candidate down before it asks for the lead."""
        with self._changed:
            self._chains.propose(producer)

    def open(self, producer: str, epoch: int) -> Chain:
        """Begin the chain of a producer that leads, after all others.

        It is written down by then; whoever publishes brings that to the disk with the next `tidy`, before the first message.
        """
        with self._changed:
            self._untidy, self._tidied_at = True, self._clock() - _TIDY_INTERVAL
            return self._chains.open(producer, epoch)

    def look(self) -> bool:
        """Tell whether processes that are dead by now left something in the folder to `adopt`; costs no disk."""
        with self._changed:
            return self._store is not None and self._store.look_for_more()

    def adopt(self) -> bool:
        """Take in what processes that are dead by now left in the folder; tell whether there was anything."""
        with self._changed:
            self._wake()
            return self._chains.adopt()

    def fence(self) -> int:
        """Make everything held late, for good: another producer leads; return how many messages that is."""
        with self._changed:
            self._chains.make_late()
            self._wake()
        return len(self)

    def judge(self, before: str) -> None:
        """Make late what ``before``, who led last, has overtaken: all but what waited in the spools of that very process."""
        with self._changed:
            self._chains.make_late(but_for=before)
            self._wake()

    def end(self, chain: Chain) -> None:
        """Nothing more will come to a chain."""
        with self._changed:
            chain.open = False
            self._wake()

    def clear(self, chain: Chain) -> bool:
        """Let the disk have nothing more of a chain of which nothing is held; tell whether that is so."""
        with self._changed:
            return self._store is None or self._store.clear(chain.producer)

    def finish(self, chain: Chain) -> None:
        """Forget a chain of which nothing is held, and to which nothing will come."""
        with self._changed:
            self._chains.remove(chain)

    def discard(self, chain: Chain, reason: DropReason) -> int:
        """Give up all of a chain of which nothing is under way; return how many payloads that was."""
        with self._changed:
            lost = self._tiers.discard(chain, reason)
            room = self._has_room_again()
        if room:
            self.on_room()
        return lost

    # What the feed thread does.

    def put(self, chain: Chain, entries: Sequence[Entry]) -> None:
        """Append entries, numbered upwards, or give some up as ``overflow`` says; a closed backlog takes none."""
        with self._changed:
            if self._closed:
                return
            chain.newest = max(chain.newest, entries[-1].last)  # what was vetoed after it has its number already
            self._tiers.put(chain, entries)
            self._full = self._full or not self._tiers.has_place(chain)
            due = self._notify_at is not None and self._is_due()
            self._changed.notify()
        if due:  # given up, or safe on disk already
            self.on_room()

    def refuse(self, chain: Chain, first: int, last: int, received_us: int, reason: DropReason) -> None:
        """Give up payloads that have their numbers and are not to be put."""
        with self._changed:
            chain.newest = max(chain.newest, last)
            if reason != "vetoed":  # that is the user's own word, and final: to have it sent again would bring it again
                chain.note_unkept(first, last)
            self._losses.drop_range(chain.producer, first, last, last - first + 1, received_us, received_us, reason)
            self._losses.end()

    def lose(self, chain: Chain, entries: Sequence[Entry]) -> None:
        """Count messages as lost that have their numbers and will not be put before the end."""
        with self._changed:
            self._losses.drop(chain.producer, entries, "lost")
            self._losses.end()

    def begin_connection(self, chain: Chain) -> None:
        """Let what was given up before count no more in what is settled."""
        with self._changed:
            chain.begin_connection()
            self._notify_at = None

    def settled(self, chain: Chain) -> int:
        """Return the number up to which everything is in Redis, or on a disk that outlives all and drops nothing."""
        with self._changed:
            return self._settled(chain)

    def notify_at(self, chain: Chain, seq: int | None) -> None:
        """Call ``on_room`` once everything of a chain up to ``seq`` is settled, or never can be; None: no more."""
        with self._changed:
            self._notify_at = None if seq is None else (chain, seq)
            due = self._is_due()
        if due:
            self.on_room()

    # What the publish thread does.

    def take(self, chain: Chain, messages: int, size: int) -> list[Entry]:
        """Return the next entries, at most so many and so many bytes, but at least one if there is one. They stay held."""
        with self._changed:
            if not chain.waiting:
                self._tiers.load(chain)
            return chain.take(messages, size)

    def commit(self, chain: Chain, seq: int) -> list[Entry]:
        """Let go of what was taken, up to number ``seq``, and return it."""
        with self._changed:
            done = chain.commit(seq)
            if self._store is not None:
                self._store.confirm(chain.producer, seq)
                self._untidy = True
            self._tiers.let_go(done)
            wanted = self._has_room_again() | self._is_due()
        if wanted:
            self.on_room()
        return done

    def rewind(self, chain: Chain) -> None:
        """Make everything that was taken and not committed the next to be taken again."""
        with self._changed:
            chain.rewind()

    def reject(self, chain: Chain, seq: int, detail: str) -> bool:
        """Give up the next entry to be taken, if it is number ``seq``; it is set aside on disk where there is one."""
        with self._changed:
            if not chain.waiting or chain.waiting[0].seq != seq:
                return False
            entry = chain.waiting.popleft()
            self._tiers.let_go([entry])
            if self._store is not None:
                self._store.reject(chain.producer, entry, detail)
            chain.note_unkept(entry.seq, entry.last)
            self._losses.drop(chain.producer, [entry], "rejected")
            self._losses.end()
            room = self._has_room_again() | self._is_due()
        if room:
            self.on_room()
        return True

    def tidy(self) -> None:
        """Let the disk know what is confirmed, and see whether it has room again, if there is reason and it is time to."""
        if self._store is not None and self._store.is_look_due:
            with self._changed:
                self._store.look()
        if self._store is None or not self._is_untidy() or self._clock() - self._tidied_at < _TIDY_INTERVAL:
            return
        with self._changed:
            self._untidy = False
            self._tidied_at = self._clock()
            self._store.flush()
            room = self._has_room_again()
        if room:
            self.on_room()

    def wait(self, timeout: float, *, for_messages: bool = True) -> None:
        """Wait until there is something to take, or to `tidy`, or somebody wakes us, at most ``timeout`` seconds.

        Not ``for_messages``: what there is to take may not be taken yet.
        """
        with self._changed:
            if self._store is not None:
                timeout = min(timeout, _TIDY_INTERVAL if self._is_untidy() else LOOK_INTERVAL)
            self._changed.wait_for(lambda: self._woken or self._closed or (for_messages and self._has_waiting()), timeout)
            self._woken = False

    def wake(self) -> None:
        """End a `wait`, now or the next."""
        with self._changed:
            self._wake()

    # The end.

    def save(self, *, keeps: bool) -> Saved:
        """Take no more, and bring everything in memory to the disk, what is under way too; what cannot be is lost.

        Without ``keeps`` (a disk that does not outlive the process) all is lost. What is held can still be taken and committed.
        """
        with self._changed:
            self._closed = True
            if self._store is not None:
                self._store.look()
            held = sum([payloads_in(list(chain.in_memory())) + chain.unread_payloads for chain in self._chains])
            lost = sum([self._tiers.save(chain) if keeps and self._keeps(chain) else self._lose(chain) for chain in self._chains])
            self._losses.end()
            if self._store is not None:
                self._store.flush()
            self._changed.notify()
            return Saved(held - lost if keeps else 0, lost)

    def take_gaps(self) -> list[bytes]:
        """Return the gap records that earlier processes could not bring to Redis."""
        with self._changed:
            return self._store.take_gaps() if self._store is not None else []

    def save_gaps(self, records: Sequence[bytes]) -> bool:
        """Store gap records that could not be brought to Redis; tell whether they are safe."""
        with self._changed:
            return self._store is not None and self._store.save_gaps(records)

    def close(self) -> None:
        """Take no more, and give the disk's files back."""
        with self._changed:
            self._closed = True
            if self._store is not None:
                self._store.close()
            self._changed.notify()

    def _is_untidy(self) -> bool:
        return self._untidy or (self._full and self._store is not None)

    # With the lock held.

    def _wake(self) -> None:
        self._woken = True
        self._changed.notify()

    def _has_waiting(self) -> bool:
        first = self._chains.first
        return first is not None and first.has_waiting

    def _keeps(self, chain: Chain) -> bool:
        return self._store is None or self._store.keeps(chain.producer)

    def _lose(self, chain: Chain) -> int:
        """Give up all of a chain; should its disk be there at the next start all the same, what is told as lost stays so."""
        chain.rewind()
        lost = self._tiers.discard(chain, "lost")
        if self._store is not None:
            self._store.drop_oldest(chain.producer, 0, self._store.size)
        return lost

    def _lose_unread(self, producer: str) -> None:
        for chain in self._chains:
            if chain.producer == producer:
                self._tiers.lose_unread(chain)

    def _settled(self, chain: Chain) -> int:
        durable = self._disk_is_safe and self._store is not None and self._store.durable
        on_disk = durable and not chain.tail and chain.confirmed >= chain.alone_to
        seq = chain.newest if on_disk or chain.is_empty else chain.confirmed
        return seq if chain.first_unkept is None else min(seq, chain.first_unkept - 1)

    def _is_due(self) -> bool:
        if self._notify_at is None:
            return False
        chain, seq = self._notify_at
        never = chain.first_unkept is not None and chain.first_unkept <= seq
        if self._settled(chain) < seq and not never:
            return False
        self._notify_at = None
        return True

    def _has_room_again(self) -> bool:
        """Tell whether a full backlog has just got room again."""
        last = self._chains.last
        if not self._full or last is None or not self._tiers.has_room_again(last):
            return False
        self._full = False
        self._losses.end()
        return True
