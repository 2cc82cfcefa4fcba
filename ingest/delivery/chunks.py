"""What the entries of one chunk look like on disk, and where a batch is cut into chunks.

The rule: pure, and column by column, so that packing and unpacking cost a few calls per chunk and next to nothing per message::

    count, length of names | names of the queues (JSON) | seq* last* received_us* (int64 each)
    | lengths of id* and of data* (uint32 each) | number of the queue* (uint16 each; left out if there is one) | id* | data*
"""

from __future__ import annotations

import json
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise, repeat

from ingest.delivery.entry import Entry

#: A chunk holds at most so many entries and about so many bytes of data, as a call to the broker does.
MOST_ENTRIES = 1000
MOST_BYTES = 1_000_000

_HEAD = struct.Struct("<II")
_TIME = struct.Struct("<q")
_RANGE = struct.Struct("<qqqq")

_make = partial(tuple.__new__, Entry)


def cut(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Yield the entries in order, cut into chunks; an entry of any size fits into one."""
    ends = list(accumulate([len(entry.data) for entry in entries]))
    begin = 0
    while begin < len(entries):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, min(begin + MOST_ENTRIES, bisect_left(ends, before + MOST_BYTES + 1, begin)))
        yield entries[begin:end]
        begin = end


def pack(entries: Sequence[Entry]) -> bytes:
    """Return the entries of one chunk as bytes."""
    seqs, lasts, queues, ids, datas, times, _ = zip(*entries, strict=True)
    count = len(entries)
    names = list(dict.fromkeys(queues))
    head = json.dumps(names).encode()
    numbers = struct.pack(f"<{3 * count}q", *seqs, *lasts, *times)
    lengths = struct.pack(f"<{2 * count}I", *map(len, ids), *map(len, datas))
    places = b""
    if len(names) > 1:
        place = {name: number for number, name in enumerate(names)}
        places = struct.pack(f"<{count}H", *map(place.__getitem__, queues))
    return b"".join((_HEAD.pack(count, len(head)), head, numbers, lengths, places, *ids, *datas))


def unpack(data: bytes) -> list[Entry]:
    """Return the entries of a chunk, marked as stored; ValueError where the bytes are none."""
    try:
        return _unpack(data)
    except (struct.error, IndexError, TypeError) as error:
        raise ValueError(str(error)) from None


def _unpack(data: bytes) -> list[Entry]:
    count, length = _HEAD.unpack_from(data)
    at = _HEAD.size + length
    names: list[str] = json.loads(data[_HEAD.size : at])
    numbers = struct.unpack_from(f"<{3 * count}q", data, at)
    at += 24 * count
    lengths = struct.unpack_from(f"<{2 * count}I", data, at)
    at += 8 * count
    queues: Iterator[str] = repeat(names[0])
    if len(names) > 1:
        queues = map(names.__getitem__, struct.unpack_from(f"<{count}H", data, at))
        at += 2 * count
    ends = list(accumulate(lengths, initial=at))
    if ends[-1] != len(data):
        raise ValueError(f"{len(data)} bytes where {ends[-1]} were written")
    texts = [data[begin:end] for begin, end in pairwise(ends)]
    seqs, lasts, times = numbers[:count], numbers[count : 2 * count], numbers[2 * count :]
    return list(map(_make, zip(seqs, lasts, queues, texts[:count], texts[count:], times, repeat(True), strict=False)))


def received(data: bytes) -> tuple[int, int]:
    """Return when the first and the last entry of a chunk that is as it was written were received (wall-clock microseconds)."""
    count, length = _HEAD.unpack_from(data)
    times = _HEAD.size + length + 16 * count
    return _TIME.unpack_from(data, times)[0], _TIME.unpack_from(data, times + 8 * (count - 1))[0]


def checksum(run: int, first: int, last: int, messages: int, data: bytes) -> int:
    """Return the checksum of a chunk and of where it belongs."""
    return zlib.crc32(data, zlib.crc32(_RANGE.pack(run, first, last, messages)))
