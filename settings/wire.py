"""The contract between the two kinds of process: what a message looks like and how its ids are made.

The rule: nothing here does I/O, and both planes read the same definition.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Version of what is kept in Redis or on disk; one minor version reads the other's.
FORMAT = 1

#: The option under which a message carries where its frame came from.
FRAME_OPTION = "frame"

MAX_SEQ = (1 << 48) - 1


def new_producer() -> str:
    """Return the id of one run of one feed: the first four groups of a random UUID version 8 (RFC 9562, 5.8)."""
    return _version_8(uuid.uuid4().hex)[:23]


def message_id(producer: str, seq: int) -> str:
    """Return the id of a producer's message number ``seq``: its last group is ``seq`` in 12 hexadecimal digits."""
    return f"{producer}-{seq:012x}"


def split_message_id(value: str) -> tuple[str, int]:
    """Return ``(producer, seq)`` of an id that `message_id` made; ``ValueError`` if it is not of that form."""
    producer, _, last = value.rpartition("-")
    if len(producer) != 23 or len(last) != 12:
        raise ValueError(f"{value!r} is no id of ours")
    return producer, int(last, 16)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a message's payload came from, as its ``frame`` option says.

    ``received_us`` is wall-clock microseconds at the read; ``count`` says how many payloads the message carries (in a list,
    wherever the option has it), of which ``seq`` is the first's number and ``received_us`` the first's time. ``late``: the
    supervisor that read it had been replaced by the time that it was enqueued, so it is out of order, and its content may have
    come from the new leader as well.
    """

    feed: str
    seq: int
    received_us: int
    producer: str = ""
    count: int = 1
    late: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any], message_id: str = "") -> Frame | None:
        """Return the frame that a message's options describe, or None where the message is not ours."""
        value = options.get(FRAME_OPTION)
        if not isinstance(value, Mapping):
            return None
        feed, seq, received_us = value.get("feed"), value.get("seq"), value.get("received_us")
        if not (isinstance(feed, str) and isinstance(seq, int) and isinstance(received_us, int)):
            return None  # somebody else's option of the same name
        try:
            producer = split_message_id(message_id)[0] if message_id else ""
        except ValueError:
            producer = ""
        count = value.get("count", 1)
        return cls(feed, seq, received_us, producer, count if isinstance(count, int) else 1, value.get("late") is True)


def _version_8(digits: str) -> str:
    marked = f"{digits[:12]}8{digits[13:16]}{'89ab'[int(digits[16], 16) & 3]}{digits[17:]}"
    return str(uuid.UUID(marked))
