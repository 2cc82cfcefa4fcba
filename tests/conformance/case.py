"""What a case is: rounds of bytes and the frames that must answer them, and the close code that ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from tests.support.frames import BINARY, FIN, PONG, TEXT, cut, frame

#: How a stream of frames is cut into writes; the lists of cases often go through all three.
Chop = Callable[[Sequence[bytes]], list[bytes]]


def at_once(frames: Sequence[bytes]) -> list[bytes]:
    """Write all frames together."""
    return [b"".join(frames)]


def by_frame(frames: Sequence[bytes]) -> list[bytes]:
    """Write frame by frame."""
    return list(frames)


def by_octet(frames: Sequence[bytes]) -> list[bytes]:
    """Write byte by byte."""
    return list(cut(b"".join(frames), 1))


CHOPS: tuple[Chop, ...] = (at_once, by_frame, by_octet)


class Round(NamedTuple):
    """The server makes the writes, then reads the answers: frames as (opcode, payload)."""

    writes: Iterable[bytes]
    answers: Sequence[tuple[int, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One case; the rounds are made when it is played, because some are large.

    In the end the client says close with ``close``, because of a ``violation`` or in answer to the server's close frame, which
    is among the writes or, with ``server_closes``, comes after the rounds. ``extension`` answers the offer of compression.
    """

    number: str
    rounds: Callable[[], Iterable[Round]]
    close: int = 1000
    violation: bool = False
    server_closes: bool = False
    extension: str | None = None


def clean(number: str, writes: Sequence[bytes], *answers: tuple[int, bytes]) -> Case:
    """Return a case that the server ends in peace, once it got the answers."""
    return Case(number, lambda: [Round(writes, answers)], server_closes=True)


def closes(number: str, writes: Sequence[bytes], close: int, *answers: tuple[int, bytes]) -> Case:
    """Return a case with a close frame among the writes, which the client answers with this code."""
    return Case(number, lambda: [Round(writes, answers)], close)


def fails(number: str, writes: Sequence[bytes], close: int, *answers: tuple[int, bytes]) -> Case:
    """Return a case in which the client refuses to read on, with this code, after the answers."""
    return Case(number, lambda: [Round(writes, answers)], close, violation=True)


def text(payload: bytes) -> tuple[int, bytes]:
    """Return a text message as it must be echoed."""
    return TEXT, payload


def binary(payload: bytes) -> tuple[int, bytes]:
    """Return a binary message as it must be echoed."""
    return BINARY, payload


def pong(payload: bytes) -> tuple[int, bytes]:
    """Return a pong."""
    return PONG, payload


def whole(opcode: int, payload: bytes = b"", rsv: int = 0) -> bytes:
    """Return one unfragmented frame with reserved bits."""
    return frame(opcode, payload, first=FIN | rsv << 4)


def parameters(cases: Iterable[Case]) -> list[object]:
    """Return the cases as parameters of a test, each under its number."""
    return [pytest.param(case, id=f"case-{case.number}") for case in cases]
