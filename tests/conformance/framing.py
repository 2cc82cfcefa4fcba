"""Categories 1 to 5: framing, pings and pongs, reserved bits, opcodes, fragmentation."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.case import CHOPS, Case, Round, at_once, by_frame, by_octet, clean, fails, pong, text, whole
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, cut, fragments, frame

#: The length forms at their edges; the last case of each group comes in writes of 997 bytes.
LENGTHS = (0, 125, 126, 127, 128, 65535, 65536, 65536)

HELLO = b"Hello, world!"
OCTETS = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
PAYLOAD = b"ping payload"
PINGS = [b"payload-%d" % i for i in range(10)]
ONE, TWO = fragments(TEXT, b"fragment1", b"fragment2")
PUT_TOGETHER = text(b"fragment1fragment2")


def category_1() -> Iterator[Case]:
    for group, opcode, octet in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for index, length in enumerate(LENGTHS, start=1):
            payload = octet * length
            writes = list(cut(frame(opcode, payload), 997 if index == 8 else 1 << 20))
            yield clean(f"1.{group}.{index}", writes, (opcode, payload))


def category_2() -> Iterator[Case]:
    longest = b"\xfe" * 125
    for index, payload in enumerate((b"", HELLO, OCTETS, longest), start=1):
        yield clean(f"2.{index}", [whole(PING, payload)], pong(payload))
    yield fails("2.5", [whole(PING, b"\xfe" * 126)], 1002)
    yield clean("2.6", by_octet([whole(PING, longest)]), pong(longest))
    yield clean("2.7", [whole(PONG)])
    unsolicited = whole(PONG, b"unsolicited pong payload")
    yield clean("2.8", [unsolicited])
    yield clean("2.9", at_once([unsolicited, whole(PING, PAYLOAD)]), pong(PAYLOAD))
    for number, chop in (("2.10", at_once), ("2.11", by_octet)):
        yield clean(number, chop([whole(PING, payload) for payload in PINGS]), *map(pong, PINGS))


def category_3() -> Iterator[Case]:
    yield fails("3.1", [whole(TEXT, HELLO, 1)], 1002)
    for rsv, chop in enumerate(CHOPS, start=2):
        writes = chop([whole(TEXT, HELLO), whole(TEXT, HELLO, rsv), whole(PING)])
        yield fails(f"3.{rsv}", writes, 1002, text(HELLO))
    yield fails("3.5", [whole(BINARY, OCTETS, 5)], 1002)
    yield fails("3.6", [whole(PING, HELLO, 6)], 1002)
    yield fails("3.7", [whole(CLOSE, rsv=7)], 1002)


def category_4() -> Iterator[Case]:
    for group, first in ((1, 3), (2, 11)):
        yield fails(f"4.{group}.1", [whole(first)], 1002)
        yield fails(f"4.{group}.2", [whole(first + 1, b"reserved opcode payload")], 1002)
        for index, chop in ((3, at_once), (4, at_once), (5, by_octet)):
            payload = b"" if index == 3 else HELLO
            writes = chop([whole(TEXT, HELLO), whole(first + index - 1, payload), whole(PING)])
            yield fails(f"4.{group}.{index}", writes, 1002, text(HELLO))


def category_5() -> Iterator[Case]:
    for index, opcode in ((1, PING), (2, PONG)):
        yield fails(f"5.{index}", fragments(opcode, b"fragment1", b"fragment2"), 1002)
    for index, chop in enumerate(CHOPS):
        yield clean(f"5.{3 + index}", chop([ONE, TWO]), PUT_TOGETHER)
        yield clean(f"5.{6 + index}", chop([ONE, whole(PING, PAYLOAD), TWO]), pong(PAYLOAD), PUT_TOGETHER)
        for start, fin in ((9, 0x80), (12, 0)):
            nothing = frame(CONTINUATION, b"non-continuation payload", first=fin)
            yield fails(f"5.{start + index}", chop([nothing, whole(TEXT, HELLO)]), 1002)
    unfinished = frame(CONTINUATION, b"fragment3", first=0)
    yield fails("5.15", [ONE + TWO + unfinished + whole(TEXT, b"fragment4")], 1002, PUT_TOGETHER)
    for number, fin in (("5.16", 0), ("5.17", 0x80)):
        nothing = frame(CONTINUATION, b"fragment1", first=fin)
        yield fails(number, at_once([nothing, *fragments(TEXT, b"fragment2", b"fragment3")] * 2), 1002)
    yield fails("5.18", [ONE + whole(TEXT, b"fragment2")], 1002)
    yield interrupted("5.19", chop_by_frame=False)
    yield interrupted("5.20", chop_by_frame=True)


def interrupted(number: str, *, chop_by_frame: bool) -> Case:
    """Return the message in five pieces with two pings in it: the pong to the first must come before there is more to read."""
    pieces = [b"fragment%d" % i for i in range(1, 6)]
    sent = fragments(TEXT, *pieces)
    chop = by_frame if chop_by_frame else at_once
    rounds = [
        Round(chop([*sent[:2], whole(PING, b"pongme 1!")]), [pong(b"pongme 1!")]),
        Round(chop([*sent[2:4], whole(PING, b"pongme 2!"), sent[4]]), [pong(b"pongme 2!"), text(b"".join(pieces))]),
    ]
    return Case(number, lambda: rounds, server_closes=True)


CASES = [*category_1(), *category_2(), *category_3(), *category_4(), *category_5()]
