"""Sans-IO RFC 6455 parser: bytes in, messages and control frames out.

A text message is a ``str``, a binary one ``bytes``; everything else is one of the named tuples below. The rule: what comes
out depends on the bytes alone, never on how they were cut into chunks, and a chunk costs time in proportion to its own length.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ingest.connection import frame_header as header
from ingest.connection.assembly import Assembly, too_long
from ingest.connection.deflate import SHORT_MESSAGE, Inflater
from ingest.errors import ProtocolViolated


class Ping(NamedTuple):
    """A ping (RFC 6455, 5.5.2)."""

    payload: bytes


class Pong(NamedTuple):
    """A pong (RFC 6455, 5.5.3)."""

    payload: bytes


class Close(NamedTuple):
    """A close frame (RFC 6455, 5.5.1); ``code`` is 1005 where it had none."""

    code: int
    reason: str


class Violation(NamedTuple):
    """The stream broke the protocol; nothing after it is read. ``code`` (1002, 1007, 1009) is what to close with."""

    code: int
    detail: str


#: The first two bytes of a frame as one number, and the next two, which hold the length where those two say so.
_HEAD = struct.Struct("!HH")

Received = str | bytes | Ping | Pong | Close | Violation


class FrameParser:
    """Parse what a server sends on one connection; messages longer than ``max_message_bytes`` are a violation.

    ``inflate`` is what `deflate.accept` returned, where the server agreed to compress.
    """

    __slots__ = ("_ended", "_final", "_held", "_inflater", "_limit", "_message", "_missing", "_starts")

    def __init__(self, max_message_bytes: int, inflate: Inflater | None = None) -> None:
        self._limit = max_message_bytes
        self._inflater = inflate
        self._starts = header.STARTS if inflate is None else header.STARTS_WITH_DEFLATE
        self._held = b""  # what is too little to begin with: part of a header, or of a control frame
        self._message: Assembly | None = None  # the message that is not complete, and of its latest frame:
        self._missing = 0  # how many bytes of payload are still to come
        self._final = False  # whether the message ends with it
        self._ended = False

    def feed(self, data: bytes | bytearray | memoryview) -> list[Received]:
        """Return all that ``data`` completes, in order; after a `Close` or a `Violation` nothing more."""
        if self._ended:
            return []
        received: list[Received] = []
        try:
            self._parse(self._held + data if self._held else bytes(data), received)
        except ProtocolViolated as broken:
            self._end()
            received.append(Violation(broken.code, broken.detail))
        except UnicodeDecodeError:
            self._end()
            received.append(Violation(1007, "text that is not UTF-8"))
        return received

    def _end(self) -> None:
        self._ended = True
        self._held = b""
        self._message = None

    def _parse(self, data: bytes, received: list[Received]) -> None:
        at = self._payload(data, 0, received) if self._missing else 0
        while not self._ended:
            if self._message is None:
                at = self._texts(data, at, received)
            after = self._frame(data, at, received)
            if after == at:
                self._held = data[at:]
                return
            at = after

    def _texts(self, data: bytes, at: int, received: list[Received]) -> int:
        """Take whole unfragmented text messages as long as they last: nearly all of a feed, hence this tight loop."""
        end, limit, append, head_at = len(data), self._limit, received.append, _HEAD.unpack_from
        while at + 4 <= end:
            head, length = head_at(data, at)
            if head == header.TEXT_126:
                if length < 126:
                    break
                start = at + 4
            else:
                length = head - header.TEXT_0
                if not 0 <= length < 126:
                    break
                start = at + 2
            stop = start + length
            if stop > end or length > limit:
                break
            append(data[start:stop].decode())
            at = stop
        return at

    def _frame(self, data: bytes, at: int, received: list[Received]) -> int:
        """Take what is there of one frame of any kind; return ``at`` itself where that is too little to begin with."""
        if at + 2 > len(data):
            return at
        first = data[at]
        if first not in (self._starts if self._message is None else header.CONTINUATIONS):
            raise header.refuse_first_byte(first, self._message is not None)
        start, stop = header.payload_bounds(data, at)
        if start > len(data):
            return at
        if not first & header.CONTROL:
            return self._data_frame(first, data, start, stop, received)
        if stop > len(data):
            return at
        received.append(self._control(first, data[start:stop]))
        return stop

    def _control(self, first: int, payload: bytes) -> Ping | Pong | Close:
        if first == header.PING:
            return Ping(payload)
        if first == header.PONG:
            return Pong(payload)
        self._end()
        return _close(payload)

    def _data_frame(self, first: int, data: bytes, start: int, stop: int, received: list[Received]) -> int:
        length = stop - start
        if stop <= len(data) and length <= self._limit:
            # Whole messages in one frame are spared the cost of an assembly.
            if first == header.BINARY:
                received.append(data[start:stop])
                return stop
            if first >= header.COMPRESSED_TEXT and 0 < length <= SHORT_MESSAGE:
                received.append(self._short_compressed(first, data[start:stop]))
                return stop
        if self._message is None:
            inflater = self._inflater if first & header.RSV1 else None
            self._message = Assembly(self._limit, text=first & header.OPCODE == 1, inflater=inflater)
        self._message.announce(length)
        self._missing = length
        self._final = first & header.FIN != 0
        return self._payload(data, start, received)

    def _short_compressed(self, first: int, payload: bytes) -> str | bytes:
        assert self._inflater is not None, "without it no such frame is allowed"
        inflated = self._inflater.inflate_short(payload)
        if len(inflated) > self._limit:
            raise too_long(self._limit)
        return inflated.decode() if first == header.COMPRESSED_TEXT else inflated

    def _payload(self, data: bytes, at: int, received: list[Received]) -> int:
        """Take what is there of the latest data frame's payload, and the message where it ends."""
        assert self._message is not None, "payload is only missing inside a message"
        piece = data[at : at + self._missing]
        self._message.add(piece)
        self._missing -= len(piece)
        if self._final and not self._missing:
            received.append(self._message.finish())
            self._message = None
        return at + len(piece)


def is_valid_close_code(code: int) -> bool:
    """Say whether a close frame may carry ``code``: RFC 6455, 7.4, and what was registered since (1012 to 1014)."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))


def _close(payload: bytes) -> Close:
    if not payload:
        return Close(1005, "")
    if len(payload) == 1:
        raise ProtocolViolated(1002, "a close frame with half a code")
    code = int.from_bytes(payload[:2], "big")
    if not is_valid_close_code(code):
        raise ProtocolViolated(1002, f"a close frame with the reserved code {code}")
    return Close(code, payload[2:].decode())
