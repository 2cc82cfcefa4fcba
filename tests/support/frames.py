"""Build what a server puts on the wire, by hand: also what no library would send."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from ingest.connection.frames import FrameParser, Received

FIN = 0x80
RSV1 = 0x40
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes = b"", *, first: int = FIN) -> bytes:
    """Return an unmasked frame; ``first`` holds the bits beside the opcode."""
    return header(opcode, len(payload), first=first) + payload


def header(opcode: int, length: int, *, first: int = FIN) -> bytes:
    """Return the header of a frame of ``length`` bytes, in its shortest form."""
    if length < 126:
        return bytes([first | opcode, length])
    if length < 1 << 16:
        return bytes([first | opcode, 126]) + length.to_bytes(2, "big")
    return bytes([first | opcode, 127]) + length.to_bytes(8, "big")


def close(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def fragments(opcode: int, *payloads: bytes, first: int = 0) -> list[bytes]:
    """Return one message as a frame for each payload; ``first`` holds further bits of the first frame."""
    last = len(payloads) - 1
    return [
        frame(CONTINUATION if i else opcode, payload, first=(0 if i else first) | (FIN if i == last else 0))
        for i, payload in enumerate(payloads)
    ]


def cut(data: bytes, size: int) -> Iterator[bytes]:
    """Yield ``data`` in chunks of ``size`` bytes."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def feed_all(parser: FrameParser, chunks: Iterable[bytes]) -> list[Received]:
    """Return everything that ``chunks`` make the parser say."""
    return [received for chunk in chunks for received in parser.feed(chunk)]


class Deflater:
    """The server's side of permessage-deflate."""

    def __init__(self, window_bits: int = 15, context_takeover: bool = True) -> None:
        self._window_bits = window_bits
        self._context_takeover = context_takeover
        self._zlib = zlib.compressobj(wbits=-window_bits)

    def payload(self, message: bytes) -> bytes:
        """Return the payload of ``message`` (RFC 7692, 7.2.1)."""
        flushed = self._zlib.compress(message) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        if not self._context_takeover:
            self._zlib = zlib.compressobj(wbits=-self._window_bits)
        return flushed.removesuffix(b"\x00\x00\xff\xff")

    def frame(self, message: bytes, opcode: int = TEXT) -> bytes:
        """Return ``message`` as one compressed frame."""
        return frame(opcode, self.payload(message), first=FIN | RSV1)
