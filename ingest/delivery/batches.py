"""Cuts payloads into messages that carry several, in order: a list each, and the number of its first.

The rule: no clock, no lock and no thread; what has one destination and no hole in its numbers shares a message, up to a number of
payloads and of bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import orjson

from ingest.delivery.entry import Entry
from ingest.delivery.envelope import Envelope, Template
from ingest.errors import PayloadRefused

#: About so many bytes are the most in one message, as in one call to the broker; one payload alone may be larger.
MOST_BYTES = 1_000_000


class Batch:
    """Payloads that share a message: their destination, their numbers, and when the first of them was read."""

    __slots__ = ("count", "first", "pieces", "received_us", "size", "template")

    def __init__(self, template: Template, first: int, received_us: int) -> None:
        self.template = template
        self.first = first
        self.received_us = received_us
        self.pieces: list[Any] = []  # what `Envelope.seal_list` takes: JSON, where one may stand for several; or values
        self.count = 0
        self.size = 0

    @property
    def last(self) -> int:
        return self.first + self.count - 1

    def add(self, piece: Any, count: int, size: int) -> None:
        self.pieces.append(piece)
        self.count += count
        self.size += size

    def seal(self, envelope: Envelope) -> Entry:
        """Return the message; `PayloadRefused` if the process's encoder takes each of them, but not the list."""
        return envelope.seal_list(self.template, self.pieces, self.first, self.last, self.received_us)


class Cutter:
    """Gathers the payloads of one producer; `open` is what waits for more.

    Parameters:
      size: the most payloads in a message; ``most_bytes``: about the most bytes.
    """

    def __init__(self, envelope: Envelope, size: int, most_bytes: int = MOST_BYTES) -> None:
        self.open: Batch | None = None
        self._envelope = envelope
        self._size = size
        self._most_bytes = most_bytes

    def add(self, payloads: Sequence[object], seq: int, received_us: int, closed: list[Batch]) -> None:
        """Add payloads, numbered from ``seq``; append to ``closed`` what is full, or cannot take the next.

        `PayloadRefused` at the first that cannot be encoded; then all before it are closed: it is a hole.
        """
        at = 0
        texts = self._envelope.writes_texts and set(map(type, payloads)) <= {str}
        while at < len(payloads):
            added = self._add_texts(payloads, at, seq + at, received_us, closed) if texts else 0
            at += added or self._add_one(payloads[at], seq + at, received_us, closed)
            if self.open is not None and self.open.count >= self._size:
                self.close(closed)

    def close(self, closed: list[Batch]) -> None:
        """Append what is open to ``closed``, if anything is."""
        if self.open is not None:
            closed.append(self.open)
            self.open = None

    def _add_texts(self, payloads: Sequence[Any], at: int, seq: int, received_us: int, closed: list[Batch]) -> int:
        """Add texts for the feed's own destination, as many as fit, in one go; return how many those were."""
        template = self._envelope.default
        count, size = (self.open.count, self.open.size) if self.open is not None and self.open.template is template else (0, 0)
        run = payloads[at : at + self._size - count]
        fitting = bisect_right(list(accumulate(map(len, run))), self._most_bytes - size)
        if fitting < 2:
            return 0
        try:
            body = orjson.dumps(run[:fitting] if fitting < len(run) else run)[1:-1]
        except orjson.JSONEncodeError:  # a lone surrogate: one by one
            return 0
        self._room(template, 0, seq, received_us, closed).add(body, fitting, len(body))
        return fitting

    def _add_one(self, payload: object, seq: int, received_us: int, closed: list[Batch]) -> int:
        try:
            piece = self._envelope.piece(payload)
        except PayloadRefused:
            self.close(closed)
            raise
        self._room(piece.template, piece.size, seq, received_us, closed).add(piece.body, 1, piece.size)
        return 1

    def _room(self, template: Template, size: int, seq: int, received_us: int, closed: list[Batch]) -> Batch:
        """Return what is open if it may take so many bytes more for this destination, else a new one."""
        batch = self.open
        if batch is not None and (batch.template is not template or batch.size + size > self._most_bytes):
            self.close(closed)
            batch = None
        if batch is None:
            batch = self.open = Batch(template, seq, received_us)
        return batch
