"""Properties of any stream, valid or corrupted and however it is cut: an independent parser sees the same in it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from ingest.connection.deflate import accept
from ingest.connection.frames import Close, FrameParser, Ping, Pong, Received, Violation
from tests.support.frames import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT, close, feed_all, fragments, frame

#: Larger than any frame: the other parser knows no limit.
NO_LIMIT = 1 << 63
#: Whatever the stream ended in, these bytes complete it: a header, or a character inside a frame or in the next one.
COMPLETION = b"\x80\x01\x80" + bytes(12)
#: Close code 1014 was registered after the oracle's list was written.
UNKNOWN_TO_ORACLE = (1014).to_bytes(2, "big")

CUTS = st.lists(st.integers(0, 400), max_size=12)


def cut_at(stream: bytes, positions: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(min(position, len(stream)) for position in positions), len(stream)]
    return [stream[start:stop] for start, stop in pairwise(bounds)]


def parse(chunks: Sequence[bytes], limit: int = NO_LIMIT) -> list[Received]:
    return feed_all(FrameParser(limit), chunks)


def outcome(received: Sequence[Received]) -> list[object]:
    """The same without the texts of violations, and without the difference between 1 and b"1" that == would hide."""
    return [("violation", each.code) if isinstance(each, Violation) else (type(each).__name__, each) for each in received]


class Oracle:
    """wsproto, told to say what our parser says."""

    def __init__(self) -> None:
        self._protocol = FrameProtocol(client=True, extensions=[])
        self._parts: list[str | bytes] = []

    def feed(self, data: bytes) -> Iterator[Received]:
        self._protocol.receive_bytes(data)
        try:
            for event in self._protocol.received_frames():
                payload: Any = event.payload  # its type hangs on the opcode
                if event.opcode is Opcode.PING:
                    yield Ping(bytes(payload))
                elif event.opcode is Opcode.PONG:
                    yield Pong(bytes(payload))
                elif event.opcode is Opcode.CLOSE:
                    yield Close(int(payload[0]), payload[1])
                else:
                    yield from self._data(payload, event.message_finished)
        except ParseFailed as failed:
            yield Violation(int(failed.code), str(failed))

    def _data(self, part: str | bytes, finished: bool) -> Iterator[str | bytes]:
        self._parts.append(part)
        if finished:
            parts, self._parts = self._parts, []
            yield part[:0].join(parts)  # type: ignore[arg-type]  # the parts of one message are of one type


def expected(stream: bytes, ours: Sequence[Received]) -> list[Received]:
    oracle = Oracle()
    seen = list(oracle.feed(stream))
    if ours and isinstance(ours[-1], Violation) and not any(isinstance(each, Violation) for each in seen):
        # We refuse a header or a character with the first byte that condemns it; the oracle wants to see it complete.
        seen += oracle.feed(COMPLETION)
    return seen


def shuffled_in(frames: list[bytes], control: list[bytes]) -> bytes:
    """Put each control frame behind one of the fragments."""
    return b"".join(data + b"".join(control[i :: len(frames)]) for i, data in enumerate(frames))


CONTROL = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125))
TEXT_BYTES = st.one_of(st.text(max_size=80).map(str.encode), st.binary(max_size=8), st.just("ü€😀".encode() * 60))
WHOLE = st.one_of(st.builds(frame, st.just(TEXT), TEXT_BYTES), st.builds(frame, st.just(BINARY), st.binary(max_size=300)))
FRAGMENTED = st.builds(
    lambda opcode, message, cuts, control: shuffled_in(fragments(opcode, *cut_at(message, cuts)), control),
    st.sampled_from([TEXT, BINARY]),
    TEXT_BYTES,
    st.lists(st.integers(0, 60), max_size=4),
    st.lists(CONTROL, max_size=3),
)
CLOSES = st.one_of(
    st.builds(close, st.one_of(st.integers(990, 1020), st.integers(0, 65535)), TEXT_BYTES.map(lambda reason: reason[:123])),
    st.builds(frame, st.just(CLOSE), st.binary(max_size=4)),
)
#: Any first byte, any form of length, masked or not.
STRANGE = st.builds(
    lambda first, second, rest: bytes([first, second]) + rest,
    st.one_of(st.sampled_from([0x01, 0x81, 0x80, 0x00, 0xC1, 0x88]), st.integers(0, 255)),
    st.one_of(st.integers(0, 8), st.sampled_from([125, 126, 127, 128, 254, 255])),
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"\x00\x7e", b"\x00\x7d", bytes(6) + b"\xff\xff", bytes(5) + b"\x01\x00\x00", b"\x80"]),
    ),
)
USUAL = st.one_of(WHOLE, FRAGMENTED, CONTROL)
STREAMS = st.lists(st.one_of(USUAL, USUAL, USUAL, CLOSES, STRANGE), max_size=8).map(b"".join)


@given(stream=STREAMS, cuts=CUTS)
@settings(max_examples=250, deadline=None)
@example(stream=fragments(TEXT, b"\xed\xa0", b"\x80")[0], cuts=[])
@example(stream=b"\xc1\x7e", cuts=[1])
def test_any_stream_is_seen_as_by_another_parser(stream: bytes, cuts: list[int]) -> None:
    assume(UNKNOWN_TO_ORACLE not in stream)

    ours = parse(cut_at(stream, cuts))

    assert outcome(ours) == outcome(expected(stream, ours))


@given(stream=STREAMS, cuts=CUTS, flips=st.lists(st.tuples(st.integers(0, 600), st.integers(1, 255)), min_size=1, max_size=3))
@settings(max_examples=250, deadline=None)
def test_corrupted_streams_are_seen_as_by_another_parser(stream: bytes, cuts: list[int], flips: list[tuple[int, int]]) -> None:
    corrupted = bytearray(stream or b"\x00")
    for position, bits in flips:
        corrupted[position % len(corrupted)] ^= bits
    assume(UNKNOWN_TO_ORACLE not in corrupted)

    ours = parse(cut_at(bytes(corrupted), cuts))

    assert outcome(ours) == outcome(expected(bytes(corrupted), ours))


@given(stream=STREAMS, cuts=CUTS, limit=st.integers(1, 200))
@settings(max_examples=200, deadline=None)
def test_cuts_change_nothing_at_any_limit(stream: bytes, cuts: list[int], limit: int) -> None:
    whole = parse([stream], limit)

    assert parse(cut_at(stream, cuts), limit) == whole
    assert parse([bytes([byte]) for byte in stream], limit) == whole


@given(messages=st.lists(st.one_of(st.text(max_size=200), st.binary(max_size=5000)), max_size=6), cuts=CUTS, data=st.data())
@settings(max_examples=150, deadline=None)
def test_what_another_implementation_compresses_is_what_we_inflate(
    messages: list[str | bytes], cuts: list[int], data: st.DataObject
) -> None:
    answer = data.draw(
        st.sampled_from(["", "; server_no_context_takeover", "; server_max_window_bits=9", "; client_max_window_bits=10"])
    )
    extension = PerMessageDeflate()
    extension.finalize(f"permessage-deflate{answer}")
    server = FrameProtocol(client=False, extensions=[extension])
    stream = bytearray()
    for message in messages:
        half = data.draw(st.integers(0, len(message)))
        if half:
            stream += server.send_data(message[:half], fin=False) + frame(PING, b"between")
        stream += server.send_data(message[half:], fin=True)

    received = feed_all(FrameParser(NO_LIMIT, accept(f"permessage-deflate{answer}")), cut_at(bytes(stream), cuts))

    assert [each for each in received if not isinstance(each, Ping)] == messages


def test_random_bytes_never_raise_and_never_depend_on_cuts() -> None:
    """Headers are made likely: of bytes that are all random, hardly any survives the first."""
    dice = random.Random(6455)
    likely = [0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xC1, 0x41, 0x00, 0x01, 0x02, 0x03, 0x05, 0x7E, 0x41, 0xC3, 0xA4]
    kinds: set[str] = set()
    for _ in range(3000):
        stream = bytes(dice.choice(likely) if dice.random() < 0.97 else dice.randrange(256) for _ in range(dice.randrange(1, 60)))
        positions = [dice.randrange(60) for _ in range(5)]
        for answer in (None, "permessage-deflate", "permessage-deflate; server_no_context_takeover"):
            whole, chunked = (
                feed_all(FrameParser(40, accept(answer) if answer else None), chunks)
                for chunks in ([stream], cut_at(stream, positions))
            )
            assert outcome(whole) == outcome(chunked), stream.hex()
            kinds.update(type(each).__name__ for each in whole)

    assert kinds == {"str", "bytes", "Ping", "Pong", "Close", "Violation"}


@given(payload=st.binary(max_size=40), cuts=CUTS)
@settings(max_examples=200, deadline=None)
def test_any_bytes_called_compressed_are_inflated_or_refused(payload: bytes, cuts: list[int]) -> None:
    stream = frame(BINARY, payload, first=FIN | RSV1) + frame(CONTINUATION)
    whole, chunked = (
        feed_all(FrameParser(1 << 20, accept("permessage-deflate")), chunks) for chunks in ([stream], cut_at(stream, cuts))
    )

    assert outcome(whole) == outcome(chunked)
    assert isinstance(whole[-1], Violation)
