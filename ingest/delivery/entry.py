"""One encoded message on its way to a queue.

The rule: its bytes are made once, and kept as they are, in memory and on disk.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One encoded message: its number, the last number it stands for, and when its (first) frame was read.

    ``stored`` says that it was read from the disk, where it stays until it is confirmed.
    """

    seq: int
    last: int
    queue: str
    id: bytes
    data: bytes
    received_us: int
    stored: bool = False
