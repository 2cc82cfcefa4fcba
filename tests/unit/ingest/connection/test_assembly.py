"""Messages in pieces: UTF-8 judged at the first byte that spoils it (category 6 of the Autobahn suite), and the limit."""

from __future__ import annotations

import pytest

from ingest.connection.assembly import Assembly, too_long
from ingest.connection.deflate import Inflater
from ingest.connection.frames import FrameParser, Ping, Received, Violation
from ingest.errors import ProtocolViolated
from tests.support.frames import BINARY, PING, TEXT, Deflater, feed_all, fragments, frame, header

LIMIT = 1 << 20
NOT_UTF8 = Violation(1007, "text that is not UTF-8")

VALID = [
    "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "κόσμε".encode(),
    b"\x00",
    b"\x7f\xc2\x80\xdf\xbf",  # the borders of one and two bytes
    b"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",  # of three, around the surrogates
    b"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",  # of four
    b"\xef\xbf\xbe\xf0\x9f\xbf\xbf",  # characters that Unicode assigns to nobody
]
INVALID = [
    b"\x80",
    b"\xbf\xbf",
    b"\xc0\xaf",  # overlong in two, three and four bytes
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",  # surrogates, single and in a pair
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",  # beyond the last character
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
]
UNFINISHED = [b"\xc2", b"\xe2\x82", b"\xf0\x9f\x98", "κόσμ".encode() + b"\xce"]


def parse(*chunks: bytes) -> list[Received]:
    return feed_all(FrameParser(LIMIT), chunks)


@pytest.mark.parametrize("text", VALID)
def test_valid_text_however_it_is_fragmented_and_cut(text: bytes) -> None:
    by_fragment = b"".join(fragments(TEXT, *(bytes([byte]) for byte in text)))
    by_chunk = frame(TEXT, text)

    assert parse(frame(TEXT, text)) == [text.decode()]
    assert parse(by_fragment) == [text.decode()]
    assert parse(*(bytes([byte]) for byte in by_fragment)) == [text.decode()]
    assert parse(*(bytes([byte]) for byte in by_chunk)) == [text.decode()]


@pytest.mark.parametrize("text", INVALID + UNFINISHED)
def test_invalid_text_however_it_is_fragmented_and_cut(text: bytes) -> None:
    by_fragment = b"".join(fragments(TEXT, *(bytes([byte]) for byte in text)))

    assert parse(frame(TEXT, b"before") + frame(TEXT, text)) == ["before", NOT_UTF8]
    assert parse(by_fragment) == [NOT_UTF8]
    assert parse(*(bytes([byte]) for byte in by_fragment)) == [NOT_UTF8]


@pytest.mark.parametrize("text", INVALID)
def test_invalid_text_is_refused_before_its_frame_or_message_is_complete(text: bytes) -> None:
    assert parse(header(TEXT, 10_000) + text) == [NOT_UTF8]
    assert parse(header(TEXT, 10_000), *(bytes([byte]) for byte in text)) == [NOT_UTF8]
    assert parse(fragments(TEXT, text, b"")[0]) == [NOT_UTF8]


@pytest.mark.parametrize("text", UNFINISHED)
def test_unfinished_text_is_refused_only_when_the_message_ends(text: bytes) -> None:
    parser = FrameParser(LIMIT)
    first, last = fragments(TEXT, text, b"")

    assert parser.feed(first) == []
    assert parser.feed(frame(PING)) == [Ping(b"")]
    assert parser.feed(last) == [NOT_UTF8]


def test_a_character_over_two_fragments_with_a_ping_inside_it() -> None:
    one, two = fragments(TEXT, b"1 \xe2\x82", b"\xac")

    assert parse(one + frame(PING, b"\xff") + two) == [Ping(b"\xff"), "1 €"]


def test_state_of_one_text_does_not_leak_into_the_next() -> None:
    binary = b"".join(fragments(BINARY, b"\xe2\x82", b"\xff"))

    assert parse(binary + frame(TEXT, b"\xac")) == [b"\xe2\x82\xff", NOT_UTF8]


@pytest.mark.parametrize("text", [False, True])
def test_pieces_are_put_together(text: bool) -> None:
    message = Assembly(10, text=text)
    for piece in (b"ab", b"", b"cd"):
        message.announce(len(piece))
        message.add(piece)

    assert message.finish() == ("abcd" if text else b"abcd")


def test_announcing_beyond_the_limit_is_refused_before_anything_came() -> None:
    message = Assembly(10, text=True)
    message.announce(6)

    with pytest.raises(ProtocolViolated) as refused:
        message.announce(5)

    assert refused.value == too_long(10) == ProtocolViolated(1009, "a message of more than 10 bytes")


def test_the_limit_holds_for_the_inflated_size_too() -> None:
    payload = Deflater().payload(b"x" * 101)
    message = Assembly(100, text=False, inflater=Inflater())
    message.announce(len(payload))

    with pytest.raises(ProtocolViolated) as refused:
        message.add(payload)

    assert refused.value == too_long(100)


def test_a_compressed_message_without_a_byte_is_empty_and_harms_no_other() -> None:
    inflater, deflater = Inflater(), Deflater()
    empty = Assembly(100, text=True, inflater=inflater)
    empty.announce(0)
    empty.add(b"")

    assert empty.finish() == ""
    after = Assembly(100, text=True, inflater=inflater)
    after.announce(1)
    after.add(deflater.payload(b"after"))
    assert after.finish() == "after"
