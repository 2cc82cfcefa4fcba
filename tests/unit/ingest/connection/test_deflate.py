"""permessage-deflate: the negotiation, the examples of RFC 7692, and what servers do wrong."""

from __future__ import annotations

import random
import zlib

import pytest

from ingest.connection.deflate import SHORT_MESSAGE, Inflater, accept, offer
from ingest.connection.frames import FrameParser, Ping, Received, Violation
from tests.support.frames import BINARY, CONTINUATION, FIN, PING, RSV1, TEXT, Deflater, cut, feed_all, fragments, frame

LIMIT = 1 << 20
COMPRESSED = FIN | RSV1
ALL = 1 << 30
BROKEN = Violation(1007, "compressed data that does not inflate")


def parse(stream: bytes, inflater: Inflater | None = None, *, size: int = ALL, limit: int = LIMIT) -> list[Received]:
    return feed_all(FrameParser(limit, inflater or Inflater()), cut(stream, size))


def noise(length: int, seed: int = 1) -> bytes:
    """Bytes that do not compress, the same every time."""
    return random.Random(seed).randbytes(length)


# Negotiation


def test_offer_allows_the_answers_that_accept_takes() -> None:
    assert offer() == "permessage-deflate; client_max_window_bits"


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate",
        " permessage-deflate ",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; client_no_context_takeover; client_max_window_bits=15",
        'permessage-deflate;server_max_window_bits="12";client_max_window_bits = 10',
    ],
)
def test_accepted_answers_keep_the_server_s_context(answer: str) -> None:
    inflater, deflater = accept(answer), Deflater(12 if "12" in answer else 15)
    messages = [b"the same text"] * 3

    assert parse(b"".join(deflater.frame(message) for message in messages), inflater) == ["the same text"] * 3


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("", "extension '' was not offered"),
        ("x-webkit-deflate-frame", "extension 'x-webkit-deflate-frame' was not offered"),
        ("permessage-deflate, permessage-deflate", "was not offered"),
        ("permessage-bzip2; server_no_context_takeover", "was not offered"),
        ("permessage-deflate; server_no_context_takeover, mux", "has no parameter 'server_no_context_takeover, mux'"),
        ("permessage-deflate;", "has no parameter ''"),
        ("permessage-deflate; Server_no_context_takeover", "has no parameter 'Server_no_context_takeover'"),
        ("permessage-deflate; window=10", "has no parameter 'window'"),
        ("permessage-deflate; server_no_context_takeover=1", "invalid value '1'"),
        ("permessage-deflate; client_no_context_takeover=", "invalid value ''"),
        ("permessage-deflate; server_max_window_bits", "invalid value ''"),
        ("permessage-deflate; client_max_window_bits", "invalid value ''"),
        ("permessage-deflate; server_max_window_bits=7", "invalid value '7'"),
        ("permessage-deflate; server_max_window_bits=16", "invalid value '16'"),
        ("permessage-deflate; server_max_window_bits=010", "invalid value '010'"),
        ("permessage-deflate; server_max_window_bits=+9", "invalid value '+9'"),
        ("permessage-deflate; server_max_window_bits=٩", "invalid value"),
        ('permessage-deflate; server_max_window_bits="9', "invalid value"),
        ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", "server_max_window_bits is given twice"),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", "is given twice"),
    ],
)
def test_refused_answers(answer: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^(extension|permessage-deflate)") as refused:
        accept(answer)

    assert problem in str(refused.value)


def test_what_a_server_wrote_is_shown_only_in_part() -> None:
    with pytest.raises(ValueError, match="was not offered") as refused:
        accept("x" * 10_000)

    assert len(str(refused.value)) < 200


# The examples of RFC 7692, 7.2.3


@pytest.mark.parametrize(
    ("payloads", "expected"),
    [
        (["f248cdc9c90700"], ["Hello"]),
        (["f248cdc9c90700", "f200110000"], ["Hello", "Hello"]),  # the second refers to the first
        (["000500faff48656c6c6f00"], ["Hello"]),  # stored
        (["f348cdc9c9070000"], ["Hello"]),  # with a final block
        (["f24805000000ffffcac9c90700"], ["Hello"]),  # in two blocks
        (["00"], [""]),  # empty
    ],
)
@pytest.mark.parametrize("size", [ALL, 1])
def test_examples_of_the_rfc(payloads: list[str], expected: list[str], size: int) -> None:
    stream = b"".join(frame(TEXT, bytes.fromhex(payload), first=COMPRESSED) for payload in payloads)

    assert parse(stream, size=size) == expected


def test_fragments_with_a_ping_between_them() -> None:
    one, two = fragments(TEXT, bytes.fromhex("f248cd"), bytes.fromhex("c9c90700"), first=RSV1)

    assert parse(one + frame(PING, b"p") + two) == [Ping(b"p"), "Hello"]


# Contexts


@pytest.mark.parametrize("window_bits", [9, 10, 15])
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("size", [ALL, 1000, 7])
def test_streams_of_a_server_that_keeps_its_word(window_bits: int, takeover: bool, size: int) -> None:
    deflater = Deflater(window_bits, takeover)
    answer = f"permessage-deflate; server_max_window_bits={window_bits}" + ("" if takeover else "; server_no_context_takeover")
    messages = [b"short", b"{}" * 500, noise(100), noise(20_000), b"", noise(100), b"x" * 100_000]

    stream = b"".join(deflater.frame(message, BINARY) for message in messages)

    assert parse(stream, accept(answer), size=size) == messages


def test_eight_window_bits_are_enough_for_zlib_which_then_writes_nine() -> None:
    """Its distances stay below 256 there."""
    messages = [noise(240), noise(500), b"ab" * 5000, noise(1000)[:300]] * 3
    deflater = Deflater(9)

    stream = b"".join(deflater.frame(message, BINARY) for message in messages)

    assert parse(stream, accept("permessage-deflate; server_max_window_bits=8")) == messages


@pytest.mark.parametrize("size", [ALL, 1, 700])
def test_a_server_that_refers_further_back_than_its_window_is_understood_however_it_is_cut(size: int) -> None:
    """zlib with the smaller window refuses such references only where they reach behind what one call gave it."""
    deflater = Deflater(15)
    messages = [noise(300, 1), noise(3000, 2), noise(300, 1)]
    stream = b"".join(deflater.frame(message, BINARY) for message in messages)

    assert parse(stream, accept("permessage-deflate; server_max_window_bits=9"), size=size) == messages


@pytest.mark.parametrize("length", [100, SHORT_MESSAGE * 2])
def test_a_server_that_keeps_the_context_it_gave_up_is_refused(length: int) -> None:
    deflater = Deflater()
    stream = b"".join(deflater.frame(noise(length), BINARY) for _ in range(2))

    assert parse(stream, accept("permessage-deflate; server_no_context_takeover")) == [noise(length), BROKEN]


@pytest.mark.parametrize("size", [ALL, 3])
def test_messages_of_a_server_that_flushes_with_final_blocks(size: int) -> None:
    texts = ["one", "two " * 10_000, "three"]
    stream = b"".join(frame(TEXT, zlib.compress(text.encode(), wbits=-15) + b"\x00", first=COMPRESSED) for text in texts)

    assert parse(stream, size=size) == texts


def test_compressed_and_plain_messages_may_alternate() -> None:
    deflater = Deflater()
    stream = (
        deflater.frame(b"one")
        + frame(TEXT, b"two")
        + deflater.frame(b"\xff", BINARY)
        + frame(BINARY, b"\xfe")
        + deflater.frame(b"one")
    )

    assert parse(stream) == ["one", "two", b"\xff", b"\xfe", "one"]


@pytest.mark.parametrize("takeover", [True, False])
def test_an_empty_payload_is_the_empty_message(takeover: bool) -> None:
    deflater = Deflater(15, takeover)
    stream = deflater.frame(b"one") + frame(TEXT, first=COMPRESSED) + deflater.frame(b"one")

    assert parse(stream, Inflater(takeover)) == ["one", "", "one"]


@pytest.mark.parametrize("around", [65535, 65536, 65537, 131072, 200_000])
@pytest.mark.parametrize("size", [ALL, 1, 11])
def test_output_that_just_fills_the_steps_is_complete(around: int, size: int) -> None:
    deflater = Deflater()
    stream = b"".join(deflater.frame(b"\x00" * around, BINARY) for _ in range(3))

    assert parse(stream, size=size) == [b"\x00" * around] * 3


def test_output_is_not_kept_waiting_for_more_input() -> None:
    """A single byte can be many times 258 bytes: zlib has consumed it while most of that is still to come."""
    payload = Deflater().payload(b"\x00" * 300_000)

    for length in range(len(payload)):
        assert b"".join(Inflater().inflate(payload[:length])) == zlib.decompressobj(-15).decompress(payload[:length])


# What servers do wrong


@pytest.mark.parametrize("opcode", [PING, 0xA, 0x8])
def test_a_compressed_control_frame_is_refused(opcode: int) -> None:
    assert parse(frame(opcode, b"", first=COMPRESSED)) == [Violation(1002, "a frame with the reserved bits 100")]


def test_only_the_first_fragment_says_that_a_message_is_compressed() -> None:
    stream = frame(TEXT, b"\xf2\x48", first=RSV1) + frame(CONTINUATION, b"\xcd", first=RSV1)

    assert parse(stream) == [Violation(1002, "a frame with the reserved bits 100")]


@pytest.mark.parametrize("rsv", [2, 1, 3, 6, 5, 7])
def test_the_other_reserved_bits_stay_reserved(rsv: int) -> None:
    assert parse(frame(TEXT, b"", first=FIN | rsv << 4)) == [Violation(1002, f"a frame with the reserved bits {rsv:03b}")]


@pytest.mark.parametrize("size", [ALL, 1, 5])
@pytest.mark.parametrize("filler", [b"", b"\x00" * SHORT_MESSAGE])
def test_data_that_does_not_inflate(size: int, filler: bytes) -> None:
    stream = Deflater().frame(b"before") + frame(BINARY, b"\xff\xff\xff" + filler, first=COMPRESSED)

    assert parse(stream, size=size) == ["before", BROKEN]


@pytest.mark.parametrize("size", [ALL, 1])
@pytest.mark.parametrize("length", [1, 100_000])
def test_inflated_text_must_be_utf_8(size: int, length: int) -> None:
    stream = Deflater().frame(b"\xff" * length)

    assert parse(stream, size=size) == [Violation(1007, "text that is not UTF-8")]


def test_inflated_text_is_judged_before_the_message_is_complete() -> None:
    payload = Deflater().payload(b"\xff" + noise(2000))

    assert parse(frame(TEXT, payload[:1000], first=RSV1)) == [Violation(1007, "text that is not UTF-8")]


@pytest.mark.parametrize("size", [ALL, 1, 100])
@pytest.mark.parametrize("limit", [1, 1000, 70_000])
def test_limit_is_for_the_inflated_size(size: int, limit: int) -> None:
    deflater = Deflater()
    stream = deflater.frame(b"x" * limit) + deflater.frame(b"x" * (limit + 1))

    # One byte inflated is three on the wire, where the limit holds as well.
    expected: list[Received] = ["x" * limit] if limit > 1 else []
    assert parse(stream, size=size, limit=limit) == [*expected, Violation(1009, f"a message of more than {limit} bytes")]


def test_limit_is_for_the_size_on_the_wire_as_well() -> None:
    empty_blocks = b"\x00\x00\x00\xff\xff" * 30

    assert parse(frame(TEXT, empty_blocks, first=COMPRESSED), limit=100) == [Violation(1009, "a message of more than 100 bytes")]
