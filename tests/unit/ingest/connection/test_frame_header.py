"""The header of a frame: every first byte, and the bounds of the payload."""

from __future__ import annotations

import pytest

from ingest.connection import frame_header as header
from ingest.errors import ProtocolViolated


def test_first_bytes_allowed_between_messages() -> None:
    assert sorted(header.STARTS) == [0x01, 0x02, 0x81, 0x82, 0x88, 0x89, 0x8A]


def test_deflate_adds_the_starts_of_compressed_messages_only() -> None:
    assert sorted(header.STARTS_WITH_DEFLATE - header.STARTS) == [0x41, 0x42, 0xC1, 0xC2]


def test_first_bytes_allowed_inside_a_message() -> None:
    assert sorted(header.CONTINUATIONS) == [0x00, 0x80, 0x88, 0x89, 0x8A]


@pytest.mark.parametrize("inside", [False, True])
def test_every_refused_first_byte_is_a_protocol_error_that_names_its_fault(inside: bool) -> None:
    faults = {
        first: header.refuse_first_byte(first, inside)
        for first in set(range(256)) - (header.CONTINUATIONS if inside else header.STARTS)
    }

    assert {fault.code for fault in faults.values()} == {1002}
    assert faults[0xF3].detail == "a frame with the unknown opcode 3"
    assert faults[0x8F].detail == "a frame with the unknown opcode 15"
    assert faults[0x09].detail == "a fragmented control frame"
    assert faults[0xA9].detail == "a frame with the reserved bits 010"
    assert faults[0x81 if inside else 0x80].detail == (
        "a new message inside a fragmented one" if inside else "a continuation of nothing"
    )


@pytest.mark.parametrize(
    ("data", "bounds"),
    [
        (b"\x81\x00", (2, 2)),
        (b"\x81\x7d", (2, 127)),
        (b"\x81\x7e\x00\x7e", (4, 130)),
        (b"\x81\x7e\xff\xff", (4, 4 + 65535)),
        (b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", (10, 10 + 65536)),
        (b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", (10, 10 + 2**63 - 1)),
    ],
)
def test_payload_bounds(data: bytes, bounds: tuple[int, int]) -> None:
    start, stop = bounds

    assert header.payload_bounds(data, 0) == bounds
    assert header.payload_bounds(b"other" + data + b"more", 5) == (start + 5, stop + 5)


@pytest.mark.parametrize("data", [b"\x81\x7e", b"\x81\x7e\x01", b"\x81\x7f", b"\x81\x7f" + bytes(7)])
def test_incomplete_header_starts_its_payload_behind_the_end(data: bytes) -> None:
    assert header.payload_bounds(data, 0)[0] > len(data)


@pytest.mark.parametrize(
    "data", [b"\x81\x80", b"\x81\xff", b"\x89\x7e", b"\x88\x7f", b"\x81\x7e\x00\x7d", b"\x81\x7f\x80" + bytes(7)]
)
def test_refused_lengths(data: bytes) -> None:
    with pytest.raises(ProtocolViolated) as refused:
        header.payload_bounds(data, 0)

    assert refused.value.code == 1002
