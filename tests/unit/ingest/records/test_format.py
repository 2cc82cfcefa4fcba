"""A record's bytes: whatever is written comes back; whatever is cut or changed is a prefix or a clear error, never a crash."""

from __future__ import annotations

import struct
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import NotARecord, RecordDamaged, RecordError, RecordTooNew
from ingest.records import format as record_format
from ingest.records.format import (
    MARK,
    OPCODES,
    TEXT,
    Decoder,
    EmittedEntry,
    EndEntry,
    Entry,
    EventEntry,
    FrameEntry,
    Header,
    encode,
    encode_header,
)

HEADER = Header("trades", 1_790_000_000_000_000, about={"url": "wss://h/***"})

TIMES = st.integers(0, 2**64 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.dictionaries(st.text("xyz", min_size=1, max_size=5), VALUES, max_size=3)
CONTENTS = st.binary(max_size=300)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200).map(str.encode)
ENTRIES: st.SearchStrategy[Entry] = st.one_of(
    st.builds(FrameEntry, TIMES, st.just(TEXT), TEXTS, st.booleans()),
    st.builds(FrameEntry, TIMES, st.sampled_from(sorted(OPCODES - {TEXT})), CONTENTS, st.booleans()),
    st.builds(EventEntry, TIMES, st.text("abc_", min_size=1, max_size=12), FIELDS),
    st.builds(EmittedEntry, TIMES, st.lists(VALUES, max_size=3).map(tuple)),
)


def written(entries: list[Entry], *, ended: bool = True) -> bytes:
    end = [EndEntry(7, {"received": 1})] if ended else []
    return encode_header(HEADER) + b"".join(map(encode, [*entries, *end]))


def read(data: bytes, piece: int = 1 << 20) -> tuple[Decoder, list[Entry], RecordError | None]:
    decoder, found = Decoder(), []
    try:
        for at in range(0, len(data), piece):
            found += decoder.feed(data[at : at + piece])
    except RecordError as error:
        return decoder, [*found, *error.before], error  # type: ignore[list-item]
    return decoder, found, None


@given(st.lists(ENTRIES, max_size=8), st.integers(1, 64))
def test_what_is_written_comes_back_however_it_is_cut_into_pieces(entries: list[Entry], piece: int) -> None:
    decoder, found, error = read(written(entries), piece)
    assert error is None
    assert (decoder.header, decoder.ended, decoder.pending) == (HEADER, True, 0)
    assert found == [*entries, EndEntry(7, {"received": 1})]


@given(st.lists(ENTRIES, max_size=6), st.data())
def test_any_cut_gives_a_prefix(entries: list[Entry], data: st.DataObject) -> None:
    whole = written(entries)
    cut = data.draw(st.integers(0, len(whole) - 1))
    decoder, found, error = read(whole[:cut])
    assert error is None
    assert not decoder.ended
    assert found == entries[: len(found)]


@given(st.lists(ENTRIES, max_size=6), st.data())
def test_any_changed_byte_gives_a_prefix_or_says_so(entries: list[Entry], data: st.DataObject) -> None:
    whole = bytearray(written(entries))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    decoder, found, error = read(bytes(whole))
    assert found == entries[: len(found)]
    assert error is not None or not decoder.ended  # never taken for the whole


@given(st.binary(max_size=400))
def test_any_bytes_are_told_apart(noise: bytes) -> None:
    _, found, _ = read(MARK + noise)
    assert found == []


@pytest.mark.parametrize(("data", "error"), [(b"PK\x03\x04", NotARecord), (b"dramatiq-webs0cket", NotARecord)])
def test_something_else(data: bytes, error: type[RecordError]) -> None:
    with pytest.raises(error):
        Decoder().feed(data)


def test_a_newer_version_is_named() -> None:
    newer = encode_header(Header("trades", 1, version=record_format.VERSION + 1))
    with pytest.raises(RecordTooNew, match="format is version 2, and this version of dramatiq-websocket reads up to 1"):
        Decoder().feed(newer)


def _raw(kind: int, content: bytes, at_us: int = 0) -> bytes:
    checksum = crc32(content, crc32(struct.pack("!BQ", kind, at_us)))
    return struct.pack("!IIBQ", len(content), checksum, kind, at_us) + content


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_raw(0x30, b"{}"), "no header"),
        (_raw(0x20, b"[]"), "JSON object"),
        (_raw(0x20, b"{}"), "no version"),
        (_raw(0x20, b'{"version": 1}'), "not complete"),
        (struct.pack("!IIBQ", 2**31, 0, 1, 0), "bytes"),
    ],
)
def test_headers_that_are_none(data: bytes, said: str) -> None:
    with pytest.raises(RecordDamaged, match=said):
        Decoder().feed(MARK + data)


@pytest.mark.parametrize(
    ("entry", "said"),
    [(_raw(TEXT, b"\xff"), "not UTF-8"), (_raw(0x30, b"no JSON"), "JSON object"), (encode(EndEntry(1)) + b"x" * 17, "follows")],
)
def test_entries_whose_checksum_is_right_and_whose_content_is_not(entry: bytes, said: str) -> None:
    _, found, error = read(encode_header(HEADER) + encode(FrameEntry(1, TEXT, b"a")) + entry)
    assert found[0] == FrameEntry(1, TEXT, b"a")
    assert said in str(error)


def test_kinds_that_only_a_newer_writer_knows_are_passed_over() -> None:
    _, found, error = read(encode_header(HEADER) + _raw(0x77, b"?") + encode(FrameEntry(1, TEXT, b"a")))
    assert (found, error) == ([FrameEntry(1, TEXT, b"a")], None)


def test_a_text_is_a_str_and_a_binary_message_bytes() -> None:
    messages: list[Any] = [FrameEntry(0, opcode, "é".encode()).message for opcode in (1, 2)]
    assert messages == ["é", "é".encode()]
