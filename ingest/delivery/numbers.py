"""Consecutive numbers as text, many at a time.

The rule: what comes out is what formatting each by itself would give; only cheaper, and every message has four of them.
"""

from __future__ import annotations

import orjson

#: The last three hexadecimal digits of a number.
_LOW = [b"%03x" % low for low in range(1 << 12)]


def message_ids(producer: bytes, first: int, count: int) -> list[bytes]:
    """Return the ids of a producer's messages number ``first`` and following (`settings.wire.message_id`)."""
    ids: list[bytes] = []
    end = first + count
    while first < end:
        high, low = divmod(first, len(_LOW))
        start = b"%b-%09x" % (producer, high)
        ids += [start + digits for digits in _LOW[low : low + end - first]]
        first += len(_LOW) - low
    return ids


def decimals(first: int, count: int) -> list[bytes]:
    """Return ``first`` and the following numbers in decimal digits; ``count`` is at least 1."""
    return orjson.dumps(list(range(first, first + count)))[1:-1].split(b",")
