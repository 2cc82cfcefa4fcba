"""Outgoing frames: values in, one masked buffer out (RFC 6455, 5.2 and 5.3).

The rule: every frame has a fresh mask from the system's random source, so that no one can foresee the bytes on the wire.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable

from ingest.connection.frames import Ping, Pong

_FIN, _MASKED = 0x80, 0x80
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA

#: The longest payload of a control frame (RFC 6455, 5.5).
LONGEST_CONTROL = 125

#: How many pings of one read are answered.
PONGS_AT_ONCE = 16

#: Codes that describe an end but may not be sent (RFC 6455, 7.4.1): our close frame is empty then.
_NEVER_SENT = frozenset({1005, 1006, 1015})


def pongs(received: Iterable[object]) -> list[Pong]:
    """Return the answers to the pings among what one read brought, in order."""
    pings = [item for item in received if isinstance(item, Ping)]
    # Of a flood only the newest are answered, as RFC 6455 (5.5.3) allows; some servers count what they get for a few.
    return [Pong(ping.payload) for ping in pings[-PONGS_AT_ONCE:]]


def encode(frames: Iterable[str | bytes | Ping | Pong]) -> bytes:
    """Return the frames as they go over the wire.

    Raises ValueError on a text with lone surrogates and on a ping or pong of more than 125 bytes, TypeError on other types.
    """
    return b"".join([_encode_one(frame) for frame in frames])


def encode_close(code: int, reason: str) -> bytes:
    """Return a close frame; a reason that is too long is cut at a character."""
    if code in _NEVER_SENT:
        return _frame(_CLOSE, b"")
    text = reason.encode("utf-8", "replace")[: LONGEST_CONTROL - 2].decode("utf-8", "ignore")
    return _frame(_CLOSE, struct.pack("!H", code) + text.encode())


def _encode_one(frame: object) -> bytes:
    match frame:
        case str():
            return _frame(_TEXT, frame.encode())
        case bytes():
            return _frame(_BINARY, frame)
        case Ping(payload):
            return _frame(_PING, _control(payload))
        case Pong(payload):
            return _frame(_PONG, _control(payload))
    raise TypeError(f"a frame to send must be str, bytes, Ping or Pong, not {type(frame).__name__}")


def _control(payload: bytes) -> bytes:
    if len(payload) > LONGEST_CONTROL:
        raise ValueError(f"a ping or pong holds at most {LONGEST_CONTROL} bytes, not {len(payload)}")
    return payload


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size <= 125:
        head = struct.pack("!BB", _FIN | opcode, _MASKED | size)
    elif size <= 0xFFFF:
        head = struct.pack("!BBH", _FIN | opcode, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, _MASKED | 127, size)
    key = os.urandom(4)
    return head + key + _mask(payload, key)


def _mask(payload: bytes, key: bytes) -> bytes:
    # One XOR of two big integers: byte by byte it would be a hundred times slower.
    size = len(payload)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, sys.byteorder) ^ int.from_bytes(pad, sys.byteorder)).to_bytes(size, sys.byteorder)
