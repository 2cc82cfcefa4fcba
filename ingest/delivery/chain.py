"""What is held of one producer, in order: in memory, then on disk, then the little that neither had room for.

The rule: a value with its own arithmetic and no lock; the backlog guards it and does the I/O.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain as joined
from operator import attrgetter

from ingest.delivery.entry import Entry
from ingest.delivery.spool import StoredProducer

_LAST = attrgetter("last")


class Chain:
    """The messages of one producer that Redis has not confirmed.

    Attributes:
      epoch: the number of the acquisition: chains go on in this order.
      waiting: in memory, next to be taken; never sent, or known not to be in Redis.
      taken: sent, fate unknown, a list per call.
      furthest: the highest number that was ever taken, also if it waits again by now.
      unread: messages on disk that are not in memory; may be too high for what an earlier process left.
      unread_payloads: the payloads in them.
      read_to: the number up to which everything is in memory or done; what is on disk beyond it is unread.
      alone_to: up to this number, something that was meant for the disk is in memory alone.
      tail: what came when the disk refused, after all that is on disk.
      confirmed: the number up to which Redis has everything.
      late: another producer has led since: what is held here is no longer the feed's newest past.
      open: more may come.
      earlier: left by a process that is gone; Redis may hold more of it than we know.
      since_us: when it began (wall-clock microseconds); 0: not known.
    """

    def __init__(
        self,
        producer: str,
        epoch: int = 0,
        *,
        confirmed: int = 0,
        unread: int = 0,
        unread_payloads: int = 0,
        late: bool = False,
        earlier: bool = False,
        since_us: int = 0,
    ) -> None:
        self.producer = producer
        self.epoch = epoch
        self.confirmed = confirmed
        self.read_to = confirmed
        self.unread = unread
        self.unread_payloads = unread_payloads
        self.alone_to = 0
        self.late = late
        self.earlier = earlier
        self.open = not earlier
        self.since_us = since_us
        self.waiting: deque[Entry] = deque()
        self.taken: deque[list[Entry]] = deque()
        self.furthest = confirmed
        self.tail: list[Entry] = []
        self.newest = confirmed  # the highest number that was put
        self.first_unkept: int | None = None  # the first number since the connection began that was dropped
        self._begun = confirmed  # the last number before the connection began

    @classmethod
    def left_by(cls, stored: StoredProducer) -> Chain:
        """Return the chain that an earlier process left on disk."""
        numbers = max(0, stored.last - max(stored.first - 1, stored.confirmed))
        chain = cls(
            stored.id,
            stored.epoch or 0,
            confirmed=stored.confirmed,
            unread=stored.messages,
            unread_payloads=numbers if stored.messages else 0,
            late=stored.late,
            earlier=True,
        )
        chain.newest = max(stored.confirmed, stored.last)
        return chain

    @property
    def has_waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self.waiting or self.unread or self.tail)

    @property
    def is_empty(self) -> bool:
        return not (self.waiting or self.unread or self.tail or self.taken)

    @property
    def sent_to(self) -> int:
        """The number up to which everything was sent, or is known to be in Redis."""
        return self.taken[-1][-1].last if self.taken else self.confirmed

    def in_memory(self) -> Iterator[Entry]:
        """Yield all that is in memory, in order."""
        return joined(self.in_memory_before_disk(), self.tail)

    def in_memory_before_disk(self) -> Iterator[Entry]:
        """Yield what is in memory and comes before what is on disk alone."""
        return joined(joined.from_iterable(self.taken), self.waiting)

    def remember(self, entries: Sequence[Entry]) -> None:
        """Append to what is in memory; nothing may be unread."""
        self.waiting.extend(entries)
        self.read_to = entries[-1].last

    def take(self, messages: int, size: int) -> list[Entry]:
        """Return the next entries in memory, at most so many and so many bytes, but at least one if there is one."""
        batch: list[Entry] = []
        waiting = self.waiting
        while waiting and len(batch) < messages:
            size -= len(waiting[0].data)
            if size < 0 and batch:
                break
            batch.append(waiting.popleft())
        if batch:
            self.taken.append(batch)
            self.furthest = max(self.furthest, batch[-1].last)
        return batch

    def commit(self, seq: int) -> list[Entry]:
        """Let go of what was taken up to number ``seq``, and return it."""
        done: list[Entry] = []
        while self.taken and self.taken[0][0].last <= seq:
            batch = self.taken.popleft()
            cut = bisect_right(batch, seq, key=_LAST)
            done += batch[:cut]
            if cut < len(batch):
                self.taken.appendleft(batch[cut:])
        self.confirmed = seq
        self.read_to = max(self.read_to, seq)
        return done

    def rewind(self) -> None:
        """Make what was taken and not committed the next to be taken again."""
        for batch in reversed(self.taken):
            self.waiting.extendleft(reversed(batch))
        self.taken.clear()

    def drop_oldest(self, messages: int, size: int) -> list[Entry]:
        """Drop from what waits in memory until so many messages and bytes are free, or nothing waits; return the dropped."""
        dropped: list[Entry] = []
        while self.waiting and (messages > 0 or size > 0):
            entry = self.waiting.popleft()
            messages, size = messages - 1, size - len(entry.data)
            dropped.append(entry)
        return dropped

    def drop_between(self, first: int, last: int) -> list[Entry]:
        """Drop what waits in memory with numbers from ``first`` to ``last``; return the dropped."""
        if not self.waiting or self.waiting[-1].seq < first or self.waiting[0].seq > last:
            return []
        dropped = [entry for entry in self.waiting if first <= entry.seq <= last]
        self.waiting = deque([entry for entry in self.waiting if not first <= entry.seq <= last])
        return dropped

    def lose_disk(self) -> None:
        """Take that nothing of what is in memory is on disk any more."""
        self.taken = deque([[entry._replace(stored=False) for entry in batch] for batch in self.taken])
        self.waiting = deque([entry._replace(stored=False) for entry in self.waiting])
        self.alone_to = self.read_to

    def begin_connection(self) -> None:
        """Let what was put before, and is or will be given up, count no more in what is settled."""
        self._begun = self.newest
        self.first_unkept = None

    def note_unkept(self, first: int, last: int) -> None:
        """Note that these numbers will never be delivered, so nothing from there on counts as settled."""
        first = max(first, self._begun + 1)
        if first <= last and (self.first_unkept is None or first < self.first_unkept):
            self.first_unkept = first
