"""The header of a frame from the server (RFC 6455, 5.2): which first bytes are allowed, and where the payload lies.

The rule: a header is refused with 1002 as soon as the bytes that condemn it are there, before its payload is looked at.
"""

from __future__ import annotations

from ingest.errors import ProtocolViolated

# The first byte of a frame: FIN, RSV1 to RSV3, and four bits of opcode.
FIN, RSV1, CONTROL, OPCODE = 0x80, 0x40, 0x08, 0x0F
_RSV = 0x70

TEXT, BINARY, COMPRESSED_TEXT, COMPRESSED_BINARY = 0x81, 0x82, 0xC1, 0xC2  # whole messages
TEXT_0, TEXT_126 = TEXT << 8, TEXT << 8 | 126  # the same with the length beside it: none, and one of two bytes that follow
CLOSE, PING, PONG = 0x88, 0x89, 0x8A

_CONTROLS = {CLOSE, PING, PONG}
#: What may come between messages, and the same where compression was agreed on.
STARTS = frozenset({TEXT, BINARY, TEXT & ~FIN, BINARY & ~FIN} | _CONTROLS)
STARTS_WITH_DEFLATE = STARTS | {first | RSV1 for first in STARTS - _CONTROLS}
#: What may come inside a fragmented message.
CONTINUATIONS = frozenset({0x00, FIN} | _CONTROLS)


def refuse_first_byte(first: int, inside_message: bool) -> ProtocolViolated:
    """Say what is wrong with a first byte that is not among those allowed."""
    opcode = first & OPCODE
    if 2 < opcode < 8 or opcode > 10:
        detail = f"a frame with the unknown opcode {opcode}"
    elif opcode & CONTROL and not first & FIN:
        detail = "a fragmented control frame"
    elif inside_message and 0 < opcode < 3:
        detail = "a new message inside a fragmented one"
    elif not inside_message and opcode == 0:
        detail = "a continuation of nothing"
    else:
        detail = f"a frame with the reserved bits {(first & _RSV) >> 4:03b}"
    return ProtocolViolated(1002, detail)


def payload_bounds(data: bytes, at: int) -> tuple[int, int]:
    """Return where the payload of the frame at ``at``, of which two bytes are there, starts and stops.

    A start behind the end of ``data`` means that the header is not complete. Raises `ProtocolViolated`.
    """
    length = data[at + 1]
    if length < 126:
        return at + 2, at + 2 + length
    if length > 127:
        raise ProtocolViolated(1002, "a masked frame")
    if data[at] & CONTROL:
        raise ProtocolViolated(1002, "a control frame of more than 125 bytes")
    start, shortest = (at + 4, 126) if length == 126 else (at + 10, 1 << 16)
    if start > len(data):
        return start, start
    length = int.from_bytes(data[at + 2 : start], "big")
    if length < shortest:
        raise ProtocolViolated(1002, "a frame length that is not in its shortest form")
    if length >> 63:
        raise ProtocolViolated(1002, "a frame length of 64 bits")
    return start, start + length
