"""One encoded message on its way from the thread that reads to the thread that publishes.

The rule: its bytes are made once; memory, disk and every retry carry the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

_DATA = attrgetter("data")


class Entry(NamedTuple):
    """One encoded message: the numbers of its first and its last payload, and when the first was read.

    It has a payload for each number between them: nothing that was given up lies inside a message.
    ``stored``: it was read from the disk, and is there until it is confirmed.
    """

    seq: int
    last: int
    queue: str
    id: bytes
    data: bytes
    received_us: int
    stored: bool = False


def payloads_in(entries: Sequence[Entry]) -> int:
    """Return how many payloads these messages, in order, carry."""
    if not entries:
        return 0
    if entries[-1].last - entries[0].seq + 1 == len(entries):  # one in each, and no hole: nearly always
        return len(entries)
    return sum([entry.last - entry.seq + 1 for entry in entries])


def sizes_of(entries: Iterable[Entry]) -> Iterator[int]:
    """Yield the bytes of data that each of these has."""
    return map(len, map(_DATA, entries))
