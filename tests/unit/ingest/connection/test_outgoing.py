"""Outgoing frames, read back by another implementation (wsproto's)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from ingest.connection.frames import Ping, Pong
from ingest.connection.outgoing import encode, encode_close


def read_back(data: bytes) -> list[tuple[Opcode, object]]:
    """Return the messages in ``data`` as a server sees them; a server refuses frames that are not masked."""
    server = FrameProtocol(client=False, extensions=[])
    server.receive_bytes(data)
    messages: list[tuple[Opcode, object]] = []
    payload: object = None
    for frame in server.received_frames():
        part = frame.payload if isinstance(frame.payload, str | tuple | list) else bytes(frame.payload)
        payload = part if payload is None else payload + part  # type: ignore[operator]
        if frame.message_finished:
            messages.append((frame.opcode, payload))
            payload = None
    return messages


@pytest.mark.parametrize("length", [0, 1, 3, 4, 125, 126, 127, 65535, 65536, 100_001])
def test_every_length_class_is_read_back(length: int) -> None:
    data = encode(["x" * length, bytes(length)])

    assert read_back(data) == [(Opcode.TEXT, "x" * length), (Opcode.BINARY, bytes(length))]


@given(st.lists(st.one_of(st.text(), st.binary(), st.binary(max_size=125).map(Ping), st.binary(max_size=125).map(Pong))))
def test_whatever_is_sent_is_read_back(frames: list[str | bytes | Ping | Pong]) -> None:
    kinds = {str: Opcode.TEXT, bytes: Opcode.BINARY, Ping: Opcode.PING, Pong: Opcode.PONG}
    expected = [(kinds[type(frame)], frame.payload if isinstance(frame, Ping | Pong) else frame) for frame in frames]

    assert read_back(encode(frames)) == expected


def test_every_frame_has_its_own_mask() -> None:
    data = encode(["same"] * 100)
    masks = {data[start + 2 : start + 6] for start in range(0, len(data), 10)}

    assert len(masks) > 90


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (1000, "", (1000, "")),
        (1001, "going away", (1001, "going away")),
        (4000, "x" * 200, (4000, "x" * 123)),
        (4000, "é" * 100, (4000, "é" * 61)),
        (4000, "\ud800", (4000, "?")),
    ],
)
def test_close_holds_code_and_as_much_of_the_reason_as_fits(code: int, reason: str, expected: tuple[int, str]) -> None:
    ((opcode, payload),) = read_back(encode_close(code, reason))

    assert opcode is Opcode.CLOSE
    assert tuple(payload) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [1005, 1006, 1015])
def test_codes_that_must_not_be_sent_leave_as_an_empty_close(code: int) -> None:
    data = encode_close(code, "reason")

    assert (data[0], data[1], len(data)) == (0x88, 0x80, 6)


@pytest.mark.parametrize("frame", ["\ud800", Ping(b"x" * 126), Pong(b"x" * 126)])
def test_what_the_protocol_cannot_carry_is_a_value_error(frame: str | Ping | Pong) -> None:
    with pytest.raises(ValueError, match=r"surrogates|at most 125"):
        encode(["fine", frame])


@pytest.mark.parametrize("frame", [None, 7, bytearray(b"x"), ("ping",)])
def test_what_is_no_frame_is_a_type_error(frame: object) -> None:
    with pytest.raises(TypeError, match=type(frame).__name__):
        encode([frame])  # type: ignore[list-item]
