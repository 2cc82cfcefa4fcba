"""What the parser makes of a stream: the categories 1 to 5 and 7 of the Autobahn suite, each whole and cut up."""

from __future__ import annotations

import pytest

from ingest.connection.frames import Close, FrameParser, Ping, Pong, Received, Violation, is_valid_close_code
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    TEXT,
    close,
    cut,
    feed_all,
    fragments,
    frame,
    header,
)

LIMIT = 1 << 20
ALL = 1 << 30


def parse(stream: bytes, size: int = ALL, limit: int = LIMIT) -> list[Received]:
    return feed_all(FrameParser(limit), cut(stream, size))


def outcome(received: list[Received]) -> list[object]:
    """The same without the texts of violations."""
    return [each.code if isinstance(each, Violation) else each for each in received]


@pytest.fixture(params=[ALL, 1, 2, 997], ids=["whole", "by 1", "by 2", "by 997"])
def size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


# 1: framing


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 128, 65535, 65536, 70000])
def test_messages_of_every_length_form(length: int, size: int) -> None:
    stream = frame(TEXT, b"*" * length) + frame(BINARY, b"\xfe" * length) + frame(TEXT, b"after")

    assert parse(stream, size) == ["*" * length, b"\xfe" * length, "after"]


def test_types_of_what_is_received() -> None:
    text, binary, empty = parse(frame(TEXT, b"a") + frame(BINARY, b"a") + frame(BINARY))

    assert (type(text), type(binary), type(empty)) == (str, bytes, bytes)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken_and_nothing_of_it_is_kept(kind: type) -> None:
    stream = bytearray(frame(BINARY, b"whole") + frame(PING, b"p") + frame(BINARY, b"in two"))
    parser = FrameParser(LIMIT)

    first, second = bytearray(stream[:-3]), bytearray(stream[-3:])
    received = parser.feed(kind(first))
    first[:] = b"\x00" * len(first)  # as a receive buffer is used again
    received += parser.feed(kind(second))

    assert received == [b"whole", Ping(b"p"), b"in two"]
    assert [type(message) for message in received if not isinstance(message, Ping)] == [bytes, bytes]


def test_many_frames_of_one_chunk_come_in_order_from_one_call() -> None:
    texts = [f"message {i}" for i in range(1000)]

    assert FrameParser(LIMIT).feed(b"".join(frame(TEXT, text.encode()) for text in texts)) == texts


def test_nothing_comes_of_nothing() -> None:
    parser = FrameParser(LIMIT)

    assert parser.feed(b"") == []
    assert parser.feed(frame(TEXT, b"half")[:4]) == []
    assert parser.feed(b"") == []
    assert parser.feed(b"lf") == ["half"]


# 2: pings and pongs


@pytest.mark.parametrize("payload", [b"", b"Hello, world!", bytes(range(125)), b"\xfe" * 125])
def test_pings_and_pongs(payload: bytes, size: int) -> None:
    stream = frame(PING, payload) + frame(PONG, payload) + frame(PING, payload)

    assert parse(stream, size) == [Ping(payload), Pong(payload), Ping(payload)]


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("length", [126, 127, 65536])
def test_control_frame_beyond_125_bytes(opcode: int, length: int, size: int) -> None:
    assert outcome(parse(frame(TEXT, b"before") + frame(opcode, b"\xfe" * length), size)) == ["before", 1002]


# 3: reserved bits


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_reserved_bits_without_extension(rsv: int, opcode: int, size: int) -> None:
    stream = frame(TEXT, b"before") + frame(opcode, first=FIN | rsv << 4) + frame(TEXT, b"after")

    received = parse(stream, size)

    assert outcome(received) == ["before", 1002]
    assert received[-1] == Violation(1002, f"a frame with the reserved bits {rsv:03b}")


@pytest.mark.parametrize("rsv", range(1, 8))
def test_reserved_bits_of_a_continuation(rsv: int, size: int) -> None:
    stream = frame(TEXT, b"start", first=0) + frame(CONTINUATION, b"end", first=FIN | rsv << 4)

    assert outcome(parse(stream, size)) == [1002]


# 4: reserved opcodes


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved"])
@pytest.mark.parametrize("before", [[frame(PING)], fragments(TEXT, b"a", b"b")[:1]], ids=["between", "inside"])
def test_unknown_opcode(opcode: int, payload: bytes, before: list[bytes], size: int) -> None:
    received = parse(b"".join(before) + frame(opcode, payload) + frame(PING), size)

    assert received[-1] == Violation(1002, f"a frame with the unknown opcode {opcode}")


# 5: fragmentation


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_fragmented_control_frame(opcode: int, size: int) -> None:
    stream = frame(opcode, b"frag", first=0) + frame(CONTINUATION, b"ment")

    assert parse(stream, size) == [Violation(1002, "a fragmented control frame")]


@pytest.mark.parametrize("pieces", [(b"frag", b"ment"), (b"", b""), (b"", b"x", b""), (b"a" * 200, b"b" * 70000), (b"x",) * 50])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_fragmented_message(opcode: int, pieces: tuple[bytes, ...], size: int) -> None:
    whole = b"".join(pieces)
    expected = whole.decode() if opcode == TEXT else whole

    assert parse(b"".join(fragments(opcode, *pieces)) + frame(TEXT, b"after"), size) == [expected, "after"]


def test_control_frames_between_fragments_come_first(size: int) -> None:
    one, two, three = fragments(TEXT, b"fragment1", b"fragment2", b"fragment3")
    stream = one + frame(PING, b"p1") + two + frame(PONG, b"p2") + frame(PING, b"p3") + three

    assert parse(stream, size) == [Ping(b"p1"), Pong(b"p2"), Ping(b"p3"), "fragment1fragment2fragment3"]


@pytest.mark.parametrize("bits", [0, FIN])
@pytest.mark.parametrize(
    "before", [[], [frame(TEXT, b"whole")], fragments(TEXT, b"who", b"le")], ids=["start", "whole", "fragments"]
)
def test_continuation_of_nothing(bits: int, before: list[bytes], size: int) -> None:
    received = parse(b"".join(before) + frame(CONTINUATION, b"nothing", first=bits) + frame(TEXT, b"after"), size)

    assert received == [*(["whole"] if before else []), Violation(1002, "a continuation of nothing")]


@pytest.mark.parametrize("bits", [0, FIN])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_new_message_inside_a_fragmented_one(bits: int, opcode: int, size: int) -> None:
    stream = frame(TEXT, b"start", first=0) + frame(PING) + frame(opcode, b"new", first=bits)

    assert parse(stream, size) == [Ping(b""), Violation(1002, "a new message inside a fragmented one")]


# Lengths and masks


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
@pytest.mark.parametrize("code", [0, 5, 126, 127])
def test_masked_frame(opcode: int, code: int, size: int) -> None:
    stream = frame(TEXT, b"before") + bytes([FIN | opcode, 0x80 | code]) + b"\x00" * 14

    assert parse(stream, size) == ["before", Violation(1002, "a masked frame")]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("length", [b"\x7e\x00\x00", b"\x7e\x00\x7d", b"\x7f" + bytes(8), b"\x7f" + (65535).to_bytes(8, "big")])
def test_length_not_in_its_shortest_form(opcode: int, length: bytes, size: int) -> None:
    stream = bytes([FIN | opcode]) + length + b"x" * 200

    assert parse(stream, size) == [Violation(1002, "a frame length that is not in its shortest form")]


def test_length_of_64_bits_is_an_error_and_not_merely_too_long(size: int) -> None:
    assert outcome(parse(b"\x82\x7f\x80" + bytes(7), size)) == [1002]
    assert outcome(parse(b"\x82\x7f\x7f" + b"\xff" * 7, size)) == [1009]


# 7: closing


def test_nothing_is_parsed_after_a_close(size: int) -> None:
    parser = FrameParser(LIMIT)
    stream = frame(TEXT, b"before") + close(1000, b"done") + frame(TEXT, b"after") + b"\xff\xff"

    assert feed_all(parser, cut(stream, size)) == ["before", Close(1000, "done")]
    assert parser.feed(frame(PING)) == []


def test_nothing_is_parsed_after_a_violation(size: int) -> None:
    parser = FrameParser(LIMIT)

    assert outcome(feed_all(parser, cut(frame(3) + frame(TEXT, b"after"), size))) == [1002]
    assert parser.feed(frame(TEXT, b"later")) == []


def test_close_inside_a_fragmented_message(size: int) -> None:
    stream = frame(TEXT, b"never ended", first=0) + close(1001) + frame(CONTINUATION, b"!")

    assert parse(stream, size) == [Close(1001, "")]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", Close(1005, "")),
        (b"\x03", 1002),
        (b"\x03\xe8", Close(1000, "")),
        (b"\x03\xe8Hello W\xc3\xb6rld", Close(1000, "Hello Wörld")),
        (b"\x03\xe8" + b"*" * 123, Close(1000, "*" * 123)),
        (b"\x03\xe8" + b"*" * 124, 1002),
        (b"\x03\xe8\xce\xba\xed\xa0\x80", 1007),
        (b"\x03\xe8cut in the middle \xe2\x82", 1007),
        (b"\x03\xec\xff", 1002),  # the code is judged before the reason
    ],
)
def test_close_payloads(payload: bytes, expected: object, size: int) -> None:
    assert outcome(parse(frame(CLOSE, payload), size)) == [expected]


VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", VALID_CODES)
def test_valid_close_codes(code: int, size: int) -> None:
    assert is_valid_close_code(code)
    assert parse(close(code, b"why"), size) == [Close(code, "why")]


@pytest.mark.parametrize("code", INVALID_CODES)
def test_reserved_close_codes(code: int, size: int) -> None:
    assert not is_valid_close_code(code)
    assert parse(close(code, b"why"), size) == [Violation(1002, f"a close frame with the reserved code {code}")]


# The limit


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("limit", [1, 100, 126, 1000, 65535, 65536, 70000])
def test_limit_is_the_last_length_allowed(opcode: int, limit: int, size: int) -> None:
    expected: Received = "x" * limit if opcode == TEXT else b"x" * limit
    within, beyond = frame(opcode, b"x" * limit), frame(opcode, b"x" * (limit + 1))

    assert parse(within + beyond, size, limit) == [expected, Violation(1009, f"a message of more than {limit} bytes")]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("length", [101, 1000, 1 << 20, (1 << 63) - 1])
def test_the_header_alone_is_enough_to_refuse(opcode: int, length: int, size: int) -> None:
    assert outcome(parse(header(opcode, length), size, limit=100)) == [1009]


def test_limit_is_for_all_fragments_together(size: int) -> None:
    pieces = fragments(BINARY, b"x" * 60, b"y" * 40, b"")
    too_many = [*fragments(BINARY, b"x" * 60, b"y" * 40, b"z")[:2], header(CONTINUATION, 1)]

    assert parse(b"".join(pieces), size, limit=100) == [b"x" * 60 + b"y" * 40]
    assert outcome(parse(b"".join(too_many), size, limit=100)) == [1009]


def test_limit_starts_anew_with_every_message(size: int) -> None:
    stream = b"".join(fragments(TEXT, b"x" * 60, b"y" * 40)) * 3

    assert parse(stream, size, limit=100) == ["x" * 60 + "y" * 40] * 3


def test_control_frames_do_not_count_towards_the_limit(size: int) -> None:
    assert parse(frame(PING, b"p" * 125), size, limit=1) == [Ping(b"p" * 125)]
