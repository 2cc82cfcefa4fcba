"""Any bytes, cut anywhere, through the inflater: refused or inflated as zlib does it, in steps that stay small."""

from __future__ import annotations

import zlib

from ingest.connection.deflate import OUTPUT_STEP, SHORT_MESSAGE, Inflater
from ingest.errors import ProtocolViolated
from tests.support.frames import Deflater

WINDOWS = (9, 10, 12, 15)


def check(data: bytes) -> None:
    """Take a byte for the kind of inflater and two for a cut; the rest is a payload, and a message to be compressed."""
    if len(data) < 3:
        return
    window, takeover = WINDOWS[data[0] & 3], bool(data[0] & 4)
    payload = data[3 : 3 + SHORT_MESSAGE]
    at = int.from_bytes(data[1:3], "big") % (len(payload) + 1)
    whole = inflated(Inflater(takeover), payload)
    assert whole == inflated(Inflater(takeover), payload[:at], payload[at:]), "the cut changed something"
    assert whole == short(Inflater(takeover), payload), "the short way differs"
    if payload and whole is not None:
        assert whole.startswith(oracle(payload)), "zlib sees something else"
    there_and_back(window, takeover, [payload, payload[at:], b"", payload])


def inflated(inflater: Inflater, *pieces: bytes) -> bytes | None:
    """Return the message, None where it is refused."""
    parts: list[bytes] = []
    try:
        for piece in pieces:
            parts += inflater.inflate(piece)
        parts += inflater.end_message()
    except ProtocolViolated:
        return None
    assert all(len(part) <= OUTPUT_STEP for part in parts), "a step beyond its bound"
    return b"".join(parts)


def short(inflater: Inflater, payload: bytes) -> bytes | None:
    try:
        return inflater.inflate_short(payload)
    except ProtocolViolated:
        return None


def oracle(payload: bytes) -> bytes:
    """Return what zlib makes of the payload up to its first final block."""
    return zlib.decompressobj(-15).decompress(payload)


def there_and_back(window: int, takeover: bool, messages: list[bytes]) -> None:
    deflater, inflater = Deflater(window, takeover), Inflater(takeover)
    for message in messages:
        assert inflated(inflater, deflater.payload(message)) == message, "not what was compressed"
