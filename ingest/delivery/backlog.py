"""What was read and is not yet confirmed by Redis, in order: the hand-over between the feed thread and the publish thread.

The rule: one lock; an entry leaves only when it is confirmed (`commit`) or given up by name (`drop`), so whatever happens to a
connection, `rewind` brings back what was under way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from threading import Condition

from ingest.delivery.entry import Entry

__all__ = ["Backlog", "Entry"]

#: A full backlog has room again at this part of its limits, so that reading does not stop and start with every batch.
ROOM_AGAIN = 0.75


_LAST = attrgetter("last")


class Backlog:
    """A first-in, first-out store between two threads, bounded by messages and by bytes of their data.

    The bound is for who asks `has_room` before reading: `put` never refuses, so the frames of one read always fit and the
    overshoot is one read. ``on_room`` is called (without the lock) when a full backlog has room again; set it before the threads
    start.
    """

    def __init__(self, messages: int, size: int, on_room: Callable[[], None] = lambda: None) -> None:
        self.on_room = on_room
        self._most = (messages, size)
        self._again = (int(messages * ROOM_AGAIN), int(size * ROOM_AGAIN))
        self._waiting: deque[Entry] = deque()
        self._taken: deque[list[Entry]] = deque()
        self._count = 0
        self._bytes = 0
        self._full = False
        self._closed = False
        self._woken = False
        self._changed = Condition()

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Bytes of data held."""
        return self._bytes

    @property
    def oldest_us(self) -> int | None:
        """When the oldest entry was received; None if there is none."""
        with self._changed:
            oldest = next(chain(chain.from_iterable(self._taken), self._waiting), None)
        return oldest.received_us if oldest is not None else None

    @property
    def has_waiting(self) -> bool:
        """Whether there is something to `take`."""
        return bool(self._waiting)

    def has_room(self) -> bool:
        """Tell whether reading may go on."""
        return not self._full

    def put(self, entries: Sequence[Entry]) -> bool:
        """Append entries, numbered upwards; False if the backlog is closed: then they are not taken."""
        with self._changed:
            if self._closed:
                return False
            self._waiting.extend(entries)
            self._count += len(entries)
            self._bytes += sum([len(entry.data) for entry in entries])
            self._full = self._full or self._count >= self._most[0] or self._bytes >= self._most[1]
            self._changed.notify()
        return True

    def take(self, messages: int, size: int) -> list[Entry]:
        """Return the next entries, at most so many and so many bytes, but at least one if there is one. They stay held."""
        batch: list[Entry] = []
        with self._changed:
            waiting = self._waiting
            while waiting and len(batch) < messages:
                size -= len(waiting[0].data)
                if size < 0 and batch:
                    break
                batch.append(waiting.popleft())
            if batch:
                self._taken.append(batch)
        return batch

    def commit(self, seq: int) -> list[Entry]:
        """Let go of what was taken, up to number ``seq``, and return it."""
        done: list[Entry] = []
        with self._changed:
            while self._taken and self._taken[0][0].last <= seq:
                batch = self._taken.popleft()
                cut = bisect_right(batch, seq, key=_LAST)
                done += batch[:cut]
                if cut < len(batch):
                    self._taken.appendleft(batch[cut:])
            room = self._let_go(done)
        if room:
            self.on_room()
        return done

    def rewind(self) -> None:
        """Make everything that was taken and not committed the next to be taken again."""
        with self._changed:
            for batch in reversed(self._taken):
                self._waiting.extendleft(reversed(batch))
            self._taken.clear()

    def drop(self, seq: int) -> Entry | None:
        """Give up the next entry to be taken, if it is number ``seq``, and return it."""
        with self._changed:
            if not self._waiting or self._waiting[0].seq != seq:
                return None
            entry = self._waiting.popleft()
            room = self._let_go([entry])
        if room:
            self.on_room()
        return entry

    def wait(self, timeout: float) -> None:
        """Wait until there is something to take, or `wake` or `close` is called, at most ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._woken or self._closed, timeout)
            self._woken = False

    def wake(self) -> None:
        """End a `wait`, now or the next."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def close(self) -> int:
        """Accept no more entries, and return how many are left; they can still be taken and committed."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            return self._count

    def _let_go(self, entries: Sequence[Entry]) -> bool:
        self._count -= len(entries)
        self._bytes -= sum([len(entry.data) for entry in entries])
        if self._full and self._count <= self._again[0] and self._bytes <= self._again[1]:
            self._full = False
            return True
        return False
