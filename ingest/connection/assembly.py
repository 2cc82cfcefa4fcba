"""One message that comes in pieces: inflated, bounded and checked as they arrive, then put together.

The rule: a verdict falls with the first byte that justifies it, wherever the stream is cut, and nothing is kept beyond the limit.
(Only for which of several faults a compressed message is refused may depend on the cuts.)
"""

from __future__ import annotations

from ingest.connection.deflate import Inflater
from ingest.connection.utf8 import Utf8Check
from ingest.errors import ProtocolViolated


class Assembly:
    """A message of at most ``limit`` bytes, on the wire and inflated; with ``inflater`` it comes compressed."""

    __slots__ = ("_announced", "_body", "_inflater", "_limit", "_utf8")

    def __init__(self, limit: int, *, text: bool, inflater: Inflater | None = None) -> None:
        self._limit = limit
        self._inflater = inflater
        self._utf8 = Utf8Check() if text else None
        self._announced = 0
        self._body = bytearray()

    def announce(self, length: int) -> None:
        """Take note of a further frame of ``length`` bytes before any of it is kept."""
        self._announced += length
        if self._announced > self._limit:
            raise too_long(self._limit)

    def add(self, piece: bytes) -> None:
        """Take the next piece of the payload; raise `ProtocolViolated` or UnicodeDecodeError where it spoils the message."""
        if self._inflater is None:
            self._append(piece)
            return
        for inflated in self._inflater.inflate(piece):
            self._append(inflated)

    def finish(self) -> str | bytes:
        """Return the complete message; raises like `add`."""
        # No bytes at all are no deflate stream that could be ended; they can only mean the empty message.
        if self._inflater is not None and self._announced:
            for inflated in self._inflater.end_message():
                self._append(inflated)
        return bytes(self._body) if self._utf8 is None else self._body.decode()

    def _append(self, piece: bytes) -> None:
        if len(self._body) + len(piece) > self._limit:
            raise too_long(self._limit)
        if self._utf8 is not None:
            self._utf8.add(piece)
        self._body += piece


def too_long(limit: int) -> ProtocolViolated:
    """Return the violation of a message of more than ``limit`` bytes."""
    return ProtocolViolated(1009, f"a message of more than {limit} bytes")
