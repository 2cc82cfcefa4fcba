"""The verdict on text falls with the first byte that justifies it: every start of a character, against whole decoding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingest.connection.utf8 import Utf8Check


def accepted(*pieces: bytes) -> bool:
    check = Utf8Check()
    try:
        for piece in pieces:
            check.add(piece)
    except UnicodeDecodeError:
        return False
    return True


def decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def can_be_completed(start: bytes) -> bool:
    """Two bytes from a lead byte on have named the character's range: any continuation bytes can follow, or none help."""
    return any(decodes(start + b"\x80" * missing) for missing in (0, 1, 2))


def starts() -> Iterator[bytes]:
    """Every lead byte with every second byte, and those of four bytes with the third as well."""
    for lead in range(0x80, 0x100):
        for second in range(0x100):
            yield bytes([lead, second])
            if lead >= 0xF0:
                yield from (bytes([lead, second, third]) for third in (0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF))


def test_every_start_of_a_character_is_judged_at_once() -> None:
    wrong = [start for start in starts() if accepted(b"valid ", start) != can_be_completed(start)]

    assert wrong == []


def test_the_verdict_is_the_same_byte_by_byte() -> None:
    wrong = [start for start in starts() if accepted(*(bytes([byte]) for byte in start)) != can_be_completed(start)]

    assert wrong == []


@pytest.mark.parametrize("lead", range(0x80, 0x100))
def test_lead_bytes(lead: int) -> None:
    assert accepted(bytes([lead])) == (0xC2 <= lead <= 0xF4)


@pytest.mark.parametrize(
    "character", ["\x00", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"]
)
def test_the_first_and_last_character_of_every_range(character: str) -> None:
    data = character.encode()

    assert accepted(data, data)
    assert accepted(*(bytes([byte]) for byte in data * 2))


@pytest.mark.parametrize("surrogate", [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xbf\xbf"])
def test_surrogates_are_refused_at_their_second_byte(surrogate: bytes) -> None:
    check = Utf8Check()
    check.add(surrogate[:1])

    with pytest.raises(UnicodeDecodeError, match="surrogates are no characters"):
        check.add(surrogate[1:2])


def test_many_empty_pieces_change_nothing() -> None:
    assert accepted(b"\xe2", b"", b"\x82", b"", b"", b"\xac", b"")
