"""Category 6: text messages that are, or are not, UTF-8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.conformance.case import Case, clean, fails, text, whole
from tests.support.frames import TEXT, cut, fragments, frame

GREEK = bytes.fromhex("cebae1bdb9cf83cebcceb5")  # "kosme" with the accent that takes three bytes
MIXED = "Hello-µ@ßöäüàá-UTF-8!!".encode()
#: Valid, then a surrogate, then valid again.
SPOILED = GREEK + b"\xed\xa0\x80" + b"edited"


def lonely(first: int, last: int) -> str:
    """Return the octets of a range but its last, as the list has it, a space behind each, as hexadecimal digits."""
    return "".join(f"{octet:02x}20" for octet in range(first, last))


INCOMPLETE = ["c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"]
NONCHARACTERS = [chr(plane << 16 | last).encode().hex() for plane in range(17) for last in (0xFFFE, 0xFFFF)]

#: The groups of one message in one frame each: those that are UTF-8, by index, and all in hexadecimal digits.
GROUPS: dict[int, tuple[Sequence[int], Sequence[str]]] = {
    5: (range(1, 6), [*(f"hello{sign}world".encode().hex() for sign in "$¢€𤭢"), GREEK.hex()]),
    6: ((2, 5, 7, 9, 11), [GREEK[:end].hex() for end in range(1, 12)]),
    7: (range(1, 5), ["00", "c280", "e0a080", "f0908080"]),
    8: ((), ["f888808080", "fc8480808080"]),
    9: (range(1, 5), ["7f", "dfbf", "efbfbf", "f48fbfbf"]),
    10: ((), ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"]),
    11: (range(1, 5), ["ed9fbf", "ee8080", "efbfbd", "f48fbfbf", "f4908080"]),
    12: ((), ["80", "bf", *("80bf80bf80bf80"[: 2 * size] for size in range(2, 7)), bytes(range(0x80, 0xBF)).hex()]),
    13: ((), [lonely(0xC0, 0xDF), lonely(0xE0, 0xEF), lonely(0xF0, 0xF7), lonely(0xF8, 0xFB), lonely(0xFC, 0xFD)]),
    14: ((), INCOMPLETE),
    15: ((), ["".join(INCOMPLETE)]),
    16: ((), ["fe", "ff", "fefeffff"]),
    17: ((), ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"]),
    18: ((), ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"]),
    19: ((), ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"]),
    20: ((), ["eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"]),
    21: ((), [high + low for high in ("eda080", "edadbf", "edae80", "edafbf") for low in ("edb080", "edbfbf")]),
    22: (range(1, 35), NONCHARACTERS),
    23: (range(1, 8), ["efbfb9", "efbfba", "efbfbb", "efbfbc", "efbfbd", "efbfbe", "efbfbf"]),
}


def octets(message: bytes) -> list[bytes]:
    """Return a message as fragments of one byte each."""
    return fragments(TEXT, *cut(message, 1))


def fragmented() -> Iterator[Case]:
    """Empty fragments, and characters cut by fragments."""
    yield clean("6.1.1", [whole(TEXT)], text(b""))
    yield clean("6.1.2", fragments(TEXT, b"", b"", b""), text(b""))
    yield clean("6.1.3", fragments(TEXT, b"", b"middle frame payload", b""), text(b"middle frame payload"))
    yield clean("6.2.1", [whole(TEXT, MIXED)], text(MIXED))
    yield clean("6.2.2", fragments(TEXT, MIXED[:15], MIXED[15:]), text(MIXED))
    yield clean("6.2.3", octets(MIXED), text(MIXED))
    yield clean("6.2.4", octets(GREEK), text(GREEK))
    yield fails("6.3.1", [whole(TEXT, SPOILED)], 1007)
    yield fails("6.3.2", octets(SPOILED), 1007)


def at_the_first_octet() -> Iterator[Case]:
    """The client must refuse as soon as no continuation could be valid: what would complete the message is never sent."""
    cut_behind = (GREEK, b"\xf4\x90\x80\x80"), (GREEK + b"\xf4", b"\x90")
    for index, (first, second) in enumerate(cut_behind, start=1):
        yield fails(f"6.4.{index}", fragments(TEXT, first, second, b"edited")[:2], 1007)
    for index, (first, second) in enumerate(cut_behind, start=3):
        head = frame(TEXT, GREEK + b"\xf4\x90\x80\x80edited", first=0)
        start = head[: 2 + len(first)]
        yield fails(f"6.4.{index}", [start, second], 1007)


def one_frame() -> Iterator[Case]:
    for group, (valid, messages) in GROUPS.items():
        for index, digits in enumerate(messages, start=1):
            payload = bytes.fromhex(digits)
            writes, number = [whole(TEXT, payload)], f"6.{group}.{index}"
            yield clean(number, writes, text(payload)) if index in valid else fails(number, writes, 1007)


CASES = [*fragmented(), *at_the_first_octet(), *one_frame()]
