"""permessage-deflate (RFC 7692) for what the server sends: the offer, the check of its answer, and the inflater.

The rule: we only ever inflate. What we send leaves uncompressed, as RFC 7692 allows for any message (RSV1 unset), so the
parameters about the client's own compression are accepted and have no effect. Nor has a smaller window of the server's: with
one, zlib would find out about a reference behind it or not, depending on how the stream is cut.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from ingest.errors import ProtocolViolated

#: What a message's payload lacks of a complete deflate stream (RFC 7692, 7.2.2).
TAIL = b"\x00\x00\xff\xff"

#: zlib hands back what it has not consumed as a copy, so it is fed and drained in steps whose copies stay small.
INPUT_STEP = 16 * 1024
OUTPUT_STEP = 64 * 1024
#: Deflate makes at most 1032 bytes of one, so that a message of this length can be inflated whole, whatever it is.
SHORT_MESSAGE = 4 * 1024

#: A deflate stream without a header, with the largest window (32 KiB), which fits whatever window the server chose.
_RAW = -15

_EXTENSION = "permessage-deflate"
#: The parameters that an answer may have, and whether they carry a value.
_PARAMETERS = {
    "server_no_context_takeover": False,
    "client_no_context_takeover": False,
    "server_max_window_bits": True,
    "client_max_window_bits": True,
}
_WINDOW_BITS = re.compile(r'(")?(8|9|1[0-5])(?(1)")')


class Inflater:
    """Inflate the messages of one connection; its state spans them unless ``context_takeover`` is False."""

    __slots__ = ("_context_takeover", "_zlib")

    def __init__(self, context_takeover: bool = True) -> None:
        self._context_takeover = context_takeover
        self._zlib = zlib.decompressobj(_RAW)

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data``, a piece of a message, inflates to, at most ``OUTPUT_STEP`` bytes at a time.

        Raises `ProtocolViolated` (1007) where it is no deflate stream.
        """
        for start in range(0, len(data), INPUT_STEP):
            yield from self._steps(data[start : start + INPUT_STEP])

    def end_message(self) -> Iterator[bytes]:
        """Yield what is left of the message and be ready for the next one; raises like `inflate`."""
        yield from self._steps(TAIL)
        if not self._context_takeover:
            self._zlib = zlib.decompressobj(_RAW)

    def inflate_short(self, payload: bytes) -> bytes:
        """Return the message whose whole ``payload`` is at most ``SHORT_MESSAGE`` long; raises like `inflate`."""
        inflated = b"".join(self._steps(payload + TAIL))
        if not self._context_takeover:
            self._zlib = zlib.decompressobj(_RAW)
        return inflated

    def _steps(self, data: bytes) -> Iterator[bytes]:
        while True:
            try:
                inflated = self._zlib.decompress(data, OUTPUT_STEP)
            except zlib.error as error:
                raise ProtocolViolated(1007, "compressed data that does not inflate") from error
            yield inflated
            if self._zlib.eof:
                # The server flushed with a final block (RFC 7692, 7.2.3.4). zlib would ignore all that follows. Who
                # flushes like that starts over with an empty window; a reference behind it fails, it is never guessed.
                data = self._zlib.unused_data
                self._zlib = zlib.decompressobj(_RAW)
            elif len(inflated) < OUTPUT_STEP:
                return
            else:
                # Full: there may be more, even where all of the input is consumed.
                data = self._zlib.unconsumed_tail


def offer() -> str:
    """Return the ``Sec-WebSocket-Extensions`` that we send: what browsers send, which every server has met."""
    return f"{_EXTENSION}; client_max_window_bits"


def accept(response_header: str) -> Inflater:
    """Return the inflater for the server's ``Sec-WebSocket-Extensions``; raise ValueError where it does not answer `offer`."""
    extension, *parameters = (part.strip(" \t") for part in response_header.split(";"))
    if extension != _EXTENSION:
        raise ValueError(f"extension {extension[:80]!r} was not offered")
    given: dict[str, str] = {}
    for parameter in parameters:
        name, equals, value = (part.strip(" \t") for part in parameter.partition("="))
        if name not in _PARAMETERS:
            raise ValueError(f"{_EXTENSION} has no parameter {name[:80]!r}")
        if name in given:
            raise ValueError(f"{_EXTENSION} parameter {name} is given twice")
        if not (_WINDOW_BITS.fullmatch(value) if _PARAMETERS[name] else not equals):
            raise ValueError(f"{_EXTENSION} parameter {name} has the invalid value {value[:80]!r}")
        given[name] = value.strip('"')
    return Inflater("server_no_context_takeover" not in given)
