"""Any bytes, cut anywhere, through the parser: it never raises, holds no more than its limit, and the cuts change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ingest.connection.deflate import accept
from ingest.connection.frames import FrameParser, Received, Violation

#: What is negotiated; the first of them is no compression.
ANSWERS = (
    None,
    "permessage-deflate",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; server_max_window_bits=9",
)
LIMITS = (1, 40, 126, 5000, 70_000)
#: The longest that may be kept of a frame that has not begun: a control frame but for one byte.
LONGEST_HELD = 2 + 125 - 1


def check(data: bytes) -> None:
    """Take two bytes for the kind of parser, one for the number of cuts, two for each cut; the rest is the stream."""
    if len(data) < 3:
        return
    answer, limit, cuts = ANSWERS[data[0] % len(ANSWERS)], LIMITS[data[1] % len(LIMITS)], data[2] % 8
    stream = data[3 + 2 * cuts :]
    places = [int.from_bytes(data[3 + 2 * i : 5 + 2 * i], "big") % (len(stream) + 1) for i in range(cuts)]
    whole = parse([stream], answer, limit)
    for bounds in ([0, *sorted(places), len(stream)], range(len(stream) + 1)):
        assert same(whole, parse([stream[start:stop] for start, stop in pairwise(bounds)], answer, limit), answer)


def parse(chunks: Sequence[bytes], answer: str | None, limit: int) -> list[Received]:
    """Parse, and look at what is held after each chunk."""
    parser = FrameParser(limit, accept(answer) if answer else None)
    received: list[Received] = []
    for chunk in chunks:
        received += parser.feed(chunk)
        assert len(parser._held) <= LONGEST_HELD, "held bytes"
        assert parser._message is None or len(parser._message._body) <= limit, "a body beyond the limit"
    assert all(len(message.encode() if isinstance(message, str) else message) <= limit for message in data_of(received))
    assert not any(isinstance(each, Violation) for each in received[:-1]), "something after a violation"
    return received


def data_of(received: Sequence[Received]) -> list[str | bytes]:
    """Return the messages."""
    return [each for each in received if isinstance(each, str | bytes)]


def same(one: list[Received], other: list[Received], answer: str | None) -> bool:
    """Compare; of several faults of a compressed message the cuts may decide which is told."""
    if answer and one and other and isinstance(one[-1], Violation) and isinstance(other[-1], Violation):
        one, other = one[:-1], other[:-1]
    return [(type(each), each) for each in one] == [(type(each), each) for each in other]
