"""A record as connections to read from: frames in the batches in which they came, each at its time.

The rule: it looks one batch ahead, so that it knows where a connection ends; and it counts data frames from 1 over the whole
record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ingest.clock import Monotonic, monotonic
from ingest.connection.frames import Close, Ping, Pong, Received
from ingest.connection.wakeup import Wakeup
from ingest.errors import ConnectionDropped
from ingest.records.connections import CONNECTING, UPGRADED, close_of
from ingest.records.format import CLOSE, PING, PONG, Entry, EventEntry, FrameEntry


class Batch(NamedTuple):
    """What one read brought; ``frames`` of it are data."""

    at_us: int
    items: list[Received]
    frames: int


class Pacer:
    """When a moment of the record is due.

    Parameters:
      speed: recorded seconds that pass in one; None: everything is due at once.
    """

    def __init__(self, speed: float | None, clock: Monotonic = monotonic) -> None:
        self._speed = speed
        self._clock = clock
        self._began: float | None = None
        self._origin_us = 0

    def begin(self, at_us: int) -> None:
        """Let the time of the record begin here, if it has not begun."""
        if self._began is None:
            self._began, self._origin_us = self._clock(), at_us

    def seconds_until(self, at_us: int) -> float:
        """Return the seconds until a moment is due, 0 if it is."""
        if self._speed is None or self._began is None:
            return 0.0
        due = self._began + (at_us - self._origin_us) / 1_000_000 / self._speed
        return max(0.0, due - self._clock())


class Source:
    """The connections of a record, one after the other.

    Parameters:
      first: the number of the data frame with which the replay begins; what comes before is read without waiting.
    """

    def __init__(self, entries: Iterable[Entry], pacer: Pacer, first: int = 1) -> None:
        self._entries = iter(entries)
        self._pacer = pacer
        self._first = first
        self._ahead: Entry | None = next(self._entries, None)
        self._batch: Batch | None = None
        #: Data frames that were given, or passed over.
        self.given = 0
        #: Those of them that no session has seen, because it had ended their connection.
        self.skipped = 0
        #: When the newest batch came.
        self.at_us = 0

    def next_connection(self) -> bool:
        """Go to where the next connection was upgraded; False if there is none. What is left of the one before is passed over."""
        while (batch := self.peek()) is not None:
            self.take(batch)
            self.skipped += batch.frames
        while (entry := self._advance()) is not None:
            if isinstance(entry, EventEntry) and entry.name == UPGRADED:
                return True
        return False

    def peek(self) -> Batch | None:
        """Return the connection's next batch, and leave it there; None at its end."""
        if self._batch is None:
            self._batch = self._read_batch()
        return self._batch

    def take(self, batch: Batch) -> None:
        """Go past a batch."""
        self._batch = None
        self.given += batch.frames
        self.at_us = batch.at_us

    def is_muted(self) -> bool:
        """Tell whether what was given last comes before the beginning."""
        return self.given < self._first

    def seconds_until(self, batch: Batch) -> float:
        """Return the seconds until a batch is due."""
        if self.given + batch.frames < self._first:
            return 0.0
        self._pacer.begin(batch.at_us)
        return self._pacer.seconds_until(batch.at_us)

    def _read_batch(self) -> Batch | None:
        items: list[Received] = []
        frames, at_us = 0, 0
        while (entry := self._ahead) is not None and not _is_boundary(entry):
            received = isinstance(entry, FrameEntry) and not entry.outbound
            if items and (not received or entry.at_us != at_us or self.given + frames + 1 == self._first):
                break
            self._advance()
            if isinstance(entry, FrameEntry) and received:
                at_us = entry.at_us
                items.append(_item(entry))
                frames += entry.is_data
        return Batch(at_us, items, frames) if items else None

    def _advance(self) -> Entry | None:
        entry, self._ahead = self._ahead, next(self._entries, None)
        return entry


class ReplayTransport:
    """One recorded connection in place of a socket: what is sent goes nowhere.

    ``before_read`` is called whenever all that was given before has been handled.
    """

    def __init__(self, source: Source, wakeup: Wakeup, before_read: Callable[[], None]) -> None:
        self._source = source
        self._wakeup = wakeup
        self._before_read = before_read

    @property
    def bytes_received(self) -> int:
        """Nothing came over a wire."""
        return 0

    def receive(self, timeout: float | None, *, read: bool = True) -> list[Received]:
        self._before_read()
        if not read:
            self._wakeup.wait(timeout)
            return []
        batch = self._source.peek()
        if batch is None:
            raise ConnectionDropped("the record of this connection ends here")
        seconds = self._source.seconds_until(batch)
        if seconds > 0:
            self._wakeup.wait(seconds if timeout is None else min(seconds, timeout))
            if self._source.seconds_until(batch) > 0:
                return []
        self._source.take(batch)
        return batch.items

    def send(self, frames: object, timeout: float) -> None:
        """Nobody listens."""

    def close(self, code: int, reason: str, timeout: float) -> object:
        return None

    def abort(self) -> None:
        """Nothing is open."""


def _is_boundary(entry: Entry) -> bool:
    return isinstance(entry, EventEntry) and entry.name in (CONNECTING, UPGRADED)


def _item(entry: FrameEntry) -> Received:
    match entry.opcode:
        case opcode if opcode == PING:
            return Ping(entry.payload)
        case opcode if opcode == PONG:
            return Pong(entry.payload)
        case opcode if opcode == CLOSE:
            return Close(*close_of(entry.payload))
        case _:
            return entry.message
