"""What a hostile or broken server can make the parser hold: never more than the limit, and no time beyond what it sent."""

from __future__ import annotations

import time
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import repeat

import pytest

from ingest.connection.deflate import SHORT_MESSAGE, Inflater
from ingest.connection.frames import FrameParser, Received, Violation
from tests.support.frames import BINARY, CONTINUATION, FIN, PING, RSV1, TEXT, cut, feed_all, frame, header

MIB = 1 << 20
COMPRESSED = FIN | RSV1


@dataclass
class Memory:
    """Bytes allocated by the block: at most at any moment, and still held at its end."""

    peak: int = 0
    held: int = 0


@contextmanager
def measured() -> Iterator[Memory]:
    memory = Memory()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield memory
        current, peak = tracemalloc.get_traced_memory()
        memory.peak, memory.held = peak - before, current - before
    finally:
        tracemalloc.stop()


def feed(parser: FrameParser, chunks: Iterable[bytes]) -> list[Received]:
    return feed_all(parser, chunks)


@cache
def zeros(length: int) -> bytes:
    """The payload of a compressed message of so many zeros: a thousandth of them."""
    squeezed = zlib.compressobj(9, wbits=-15)
    parts = [squeezed.compress(bytes(MIB)) for _ in range(length // MIB)]
    return b"".join(parts) + squeezed.flush(zlib.Z_SYNC_FLUSH)[:-4]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_an_announced_length_takes_no_memory(opcode: int) -> None:
    refused, waiting = FrameParser(16 * MIB), FrameParser(16 * MIB)

    with measured() as memory:
        violation = refused.feed(header(opcode, 1 << 62))
        nothing = waiting.feed(header(opcode, 16 * MIB) + b"x")

    assert violation == [Violation(1009, f"a message of more than {16 * MIB} bytes")]
    assert nothing == []
    assert memory.peak < 64 * 1024


@pytest.mark.parametrize("first", [0, RSV1])
def test_endless_empty_fragments_take_no_memory(first: int) -> None:
    parser = FrameParser(MIB, Inflater())
    assert parser.feed(frame(TEXT, first=first)) == []
    chunk = frame(CONTINUATION, first=0) * 10_000

    with measured() as memory:
        received = feed(parser, [chunk] * 6)

    assert received == []
    assert memory.held < 4 * 1024


def test_endless_fragments_end_at_the_limit() -> None:
    parser = FrameParser(MIB)
    chunks = (frame(CONTINUATION if i else BINARY, b"x" * 1000, first=0) for i in range(1_000_000))

    with measured() as memory:
        for chunk in chunks:
            received = parser.feed(chunk)
            if received:
                break

    assert received == [Violation(1009, f"a message of more than {MIB} bytes")]
    assert memory.peak < 3 * MIB
    assert memory.held < 64 * 1024


def test_a_message_byte_by_byte_takes_what_it_is_long() -> None:
    parser = FrameParser(16 * MIB)
    parser.feed(header(TEXT, 100_000))

    with measured() as memory:
        received = feed(parser, repeat(b"x", 100_000))

    assert received == ["x" * 100_000]
    assert memory.peak < MIB // 2


def test_wide_characters_take_no_more_than_the_message_twice() -> None:
    parser = FrameParser(16 * MIB)
    text = ("😀" + "x" * 999) * 2000  # as text, one such character makes all its neighbours take four bytes
    stream = frame(TEXT, text.encode())
    pieces = list(cut(stream, 16 * 1024))

    with measured() as memory:
        for piece in pieces[:-1]:
            assert parser.feed(piece) == []

    assert memory.held < 2.5 * len(stream)
    assert parser.feed(pieces[-1]) == [text]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_time_of_a_chunk_does_not_grow_with_what_came_before(opcode: int) -> None:
    """Putting 8 MiB together again for each of 20 000 bytes would take far longer than a minute."""
    parser = FrameParser(16 * MIB)
    parser.feed(header(opcode, 8 * MIB + 20_000) + b"x" * 8 * MIB)
    began = time.monotonic()

    received = feed(parser, [b"x"] * 20_000)

    assert time.monotonic() - began < 15
    assert [len(message) for message in received] == [8 * MIB + 20_000]


@pytest.mark.parametrize("held", [b"\x81", header(TEXT, 1 << 20)[:9], header(PING, 100) + b"p" * 99])
def test_what_is_held_of_a_frame_does_not_keep_the_chunk_around_it(held: bytes) -> None:
    parser = FrameParser(16 * MIB)

    with measured() as memory:
        parser.feed(frame(PING) * 50_000 + held)

    assert memory.held < 16 * 1024


def test_nothing_is_kept_after_the_end() -> None:
    parser = FrameParser(16 * MIB)
    with measured() as memory:
        parser.feed(header(TEXT, 10 * MIB) + b"x" * MIB)
        parser.feed(b"\xff" + b"x" * MIB)

    assert memory.held < 64 * 1024


@pytest.mark.parametrize("size", [1 << 30, 256 * 1024, 1000])
@pytest.mark.parametrize("frames", [1, 10])
def test_a_bomb_goes_off_at_the_limit(size: int, frames: int) -> None:
    payload = zeros(64 * MIB)
    parts = list(cut(payload, len(payload) // frames + 1))
    stream = b"".join(
        frame(CONTINUATION if i else BINARY, part, first=(0 if i else RSV1) | (FIN if i == len(parts) - 1 else 0))
        for i, part in enumerate(parts)
    )
    parser = FrameParser(MIB, Inflater())
    chunks = list(cut(stream, size))

    with measured() as memory:
        received = feed(parser, chunks)

    assert received == [Violation(1009, f"a message of more than {MIB} bytes")]
    assert memory.peak < 3 * MIB
    assert memory.held < 128 * 1024


def test_a_bomb_in_a_short_message_is_bounded_by_its_shortness() -> None:
    payload = zeros(SHORT_MESSAGE * 1000)[:SHORT_MESSAGE]
    parser = FrameParser(SHORT_MESSAGE, Inflater())

    with measured() as memory:
        received = parser.feed(frame(BINARY, payload, first=COMPRESSED))

    assert received == [Violation(1009, f"a message of more than {SHORT_MESSAGE} bytes")]
    assert memory.peak < 12 * MIB


def test_final_blocks_without_end_take_no_memory() -> None:
    """Each of these two bytes is a whole deflate stream, so that each makes zlib start anew."""
    parser = FrameParser(MIB, Inflater())
    stream = frame(BINARY, b"\x03\x00" * 100_000 + b"\x00", first=COMPRESSED)

    with measured() as memory:
        received = feed(parser, cut(stream, 256 * 1024))

    assert received == [b""]
    assert memory.peak < MIB
