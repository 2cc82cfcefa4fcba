"""One encoded message on its way from the thread that reads to the thread that publishes.

The rule: its bytes are made once; memory, disk and every retry carry the same.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One encoded message: its number, the last number it stands for, and when its (first) frame was read.

    ``stored``: it was read from the disk, and is there until it is confirmed.
    """

    seq: int
    last: int
    queue: str
    id: bytes
    data: bytes
    received_us: int
    stored: bool = False
