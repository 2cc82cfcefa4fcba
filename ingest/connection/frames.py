"""Sans-IO RFC 6455 parser: bytes in, messages and control frames out.

A text message is a ``str``, a binary one ``bytes``; everything else is one of the named tuples below. The rule: what comes
out depends on the bytes alone, never on how they were cut into chunks, and a chunk costs time in proportion to its own length.
"""

from __future__ import annotations

from typing import NamedTuple

from ingest.connection.assembly import Assembly
from ingest.connection.deflate import Inflater
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


Received = str | bytes | Ping | Pong | Close | Violation

# First bytes of a frame: FIN, RSV1-3 and four bits of opcode (RFC 6455, 5.2).
_FIN, _RSV, _RSV1, _CONTROL = 0x80, 0x70, 0x40, 0x08
_TEXT, _BINARY = 0x81, 0x82
_CLOSE, _PING, _PONG = 0x88, 0x89, 0x8A
_CONTROLS = {_CLOSE, _PING, _PONG}
_STARTS = frozenset({0x01, 0x02, _TEXT, _BINARY} | _CONTROLS)
_COMPRESSED_STARTS = frozenset(first | _RSV1 for first in _STARTS - _CONTROLS)
_CONTINUATIONS = frozenset({0x00, 0x80} | _CONTROLS)


class FrameParser:
    """Parse what a server sends on one connection; messages longer than ``max_message_bytes`` are a violation.

    ``inflate`` is what `deflate.accept` returned, where the server agreed to compress.
    """

    __slots__ = ("_ended", "_final", "_held", "_inflater", "_limit", "_message", "_missing", "_starts")

    def __init__(self, max_message_bytes: int, inflate: Inflater | None = None) -> None:
        self._limit = max_message_bytes
        self._inflater = inflate
        self._starts = _STARTS if inflate is None else _STARTS | _COMPRESSED_STARTS
        self._held = b""  # a frame that is too short to begin with: part of a header, or of a control frame
        self._message: Assembly | None = None  # the message that is not complete, and of its latest frame:
        self._missing = 0  # how many bytes of payload are still to come
        self._final = False  # whether it is the message's last
        self._ended = False

    def feed(self, data: bytes | bytearray | memoryview) -> list[Received]:
        """Return all that ``data`` completes, in order; after a `Close` or `Violation` nothing more."""
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
        while True:
            if self._message is None:
                at = self._texts(data, at, received)
            after = self._frame(data, at, received)
            if self._ended:
                return
            if after == at:
                break
            at = after
        self._held = data[at:]

    def _texts(self, data: bytes, at: int, received: list[Received]) -> int:
        """Take whole unfragmented text messages as long as they last: nearly all of a feed, hence this short loop."""
        end, limit, append = len(data), self._limit, received.append
        while at + 4 <= end and data[at] == _TEXT:
            length = data[at + 1]
            start = at + 2
            if length == 126:
                length = data[at + 2] << 8 | data[at + 3]
                start = at + 4
                if length < 126:
                    break
            elif length > 126:
                break
            stop = start + length
            if stop > end or length > limit:
                break
            append(data[start:stop].decode())
            at = stop
        return at

    def _frame(self, data: bytes, at: int, received: list[Received]) -> int:
        """Take what is there of one frame of any kind; return ``at`` itself where that is too little to begin with."""
        if len(data) - at < 2:
            return at
        first = data[at]
        if first not in (self._starts if self._message is None else _CONTINUATIONS):
            raise ProtocolViolated(1002, _what_is_wrong(first, self._message is not None))
        start, length = _payload_bounds(data, at)
        if start > len(data):
            return at
        stop = start + length
        if not first & _CONTROL:
            return self._data_frame(first, data, start, stop, received)
        if stop > len(data):
            return at
        if first == _CLOSE:
            received.append(_close(data[start:stop]))
            self._end()
        else:
            received.append((Ping if first == _PING else Pong)(data[start:stop]))
        return stop

    def _data_frame(self, first: int, data: bytes, start: int, stop: int, received: list[Received]) -> int:
        if first == _BINARY and stop <= len(data) and stop - start <= self._limit:
            received.append(data[start:stop])
            return stop
        if self._message is None:
            inflater = self._inflater if first & _RSV1 else None
            self._message = Assembly(self._limit, text=first & 0x0F == 1, inflater=inflater)
        self._message.announce(stop - start)
        self._missing = stop - start
        self._final = first & _FIN != 0
        return self._payload(data, start, received)

    def _payload(self, data: bytes, at: int, received: list[Received]) -> int:
        """Take what is there of the latest data frame's payload, and the message where it ends."""
        assert self._message is not None
        piece = data[at : at + self._missing]
        self._message.add(piece)
        self._missing -= len(piece)
        if self._final and not self._missing:
            received.append(self._message.finish())
            self._message = None
        return at + len(piece)


def is_valid_close_code(code: int) -> bool:
    """Say whether a close frame may carry ``code``: RFC 6455 7.4, and what was registered since (1012 to 1014)."""
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


def _payload_bounds(data: bytes, at: int) -> tuple[int, int]:
    """Return where the payload starts, beyond the end of ``data`` if the header is not complete, and its length."""
    length = data[at + 1]
    if length < 126:
        return at + 2, length
    if length > 127:
        raise ProtocolViolated(1002, "a masked frame")
    if data[at] & _CONTROL:
        raise ProtocolViolated(1002, "a control frame of more than 125 bytes")
    start, least = (at + 4, 126) if length == 126 else (at + 10, 1 << 16)
    if start > len(data):
        return start, 0
    length = int.from_bytes(data[at + 2 : start], "big")
    if not least <= length < 1 << 63:
        raise ProtocolViolated(1002, "a frame length that is not in its shortest form, or that has 64 bits")
    return start, length


def _what_is_wrong(first: int, inside_message: bool) -> str:
    opcode = first & 0x0F
    if 2 < opcode < 8 or opcode > 10:
        return f"a frame with the unknown opcode {opcode}"
    if opcode & _CONTROL and not first & _FIN:
        return "a fragmented control frame"
    if opcode < 3 and inside_message == (opcode > 0):
        return "a new message inside a fragmented one" if inside_message else "a continuation of nothing"
    return f"a frame with the reserved bits {(first & _RSV) >> 4:03b}"
