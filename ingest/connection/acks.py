"""Acknowledgements that wait until what they acknowledge is safe.

The rule: pure. They leave in the order in which they were given, each with the number of the last payload before it; one object
per connection, so that a connection's end forgets them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ingest.connection.session import Outgoing

#: So many bytes of acks may wait, what Python needs to keep one included; beyond that reading stops until some have left.
MOST_WAITING = 32 * 1024 * 1024

_OVERHEAD = 150


class Acks:
    """The acks of one connection that have not left."""

    __slots__ = ("_most", "_size", "_waiting")

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._waiting: deque[tuple[int, tuple[Outgoing, ...]]] = deque()
        self._most = most
        self._size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether more frames may be read that could bring more acks."""
        return self._size < self._most

    @property
    def next_seq(self) -> int | None:
        """The number that must be settled for the next ack to leave; None if none waits."""
        return self._waiting[0][0] if self._waiting else None

    def add(self, seq: int, frames: Sequence[Outgoing]) -> None:
        """Keep ``frames`` until every payload up to number ``seq`` is settled; numbers never fall."""
        self._waiting.append((seq, tuple(frames)))
        self._size += _size(frames)

    def take(self, settled: int) -> list[Outgoing]:
        """Return, in order, the frames that may leave now that everything up to ``settled`` is safe, and let go of them."""
        due: list[Outgoing] = []
        while self._waiting and self._waiting[0][0] <= settled:
            _, frames = self._waiting.popleft()
            self._size -= _size(frames)
            due += frames
        return due


def _size(frames: Sequence[Outgoing]) -> int:
    return _OVERHEAD + sum([len(frame) + _OVERHEAD for frame in frames])
