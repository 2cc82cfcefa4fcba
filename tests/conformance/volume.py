"""Categories 9 and 10: large messages, many messages, many fragments."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.case import Case, Round
from tests.support.frames import BINARY, TEXT, cut, fragments, frame

KIB, MIB = 1 << 10, 1 << 20
#: Of sixteen bytes, which all sizes are multiples of; fragments and writes cut the text's characters.
PATTERNS = {TEXT: "*ä€😀ß₤*".encode(), BINARY: b"\x00\xfe\xff\x80" * 4}

SIZES = (64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB)
FRAGMENTS = (64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB)
CHOPS = (64, 128, 256, 512, 1024, 2048)
ECHOES = (0, 16, 64, 256, 1024, 4096)


def payload(opcode: int, size: int) -> bytes:
    """Return a message of this kind and size."""
    return PATTERNS[opcode] * (size // 16)


def volume(number: str, opcode: int, size: int, *, fragment: int = 0, chop: int = 1 << 18, count: int = 1) -> Case:
    """Return a case of ``count`` messages, each sent when the one before has come back."""

    def rounds() -> Iterator[Round]:
        message = payload(opcode, size)
        frames = fragments(opcode, *cut(message, fragment)) if fragment else [frame(opcode, message)]
        writes = list(cut(b"".join(frames), chop))
        for _ in range(count):
            yield Round(writes, [(opcode, message)])

    return Case(number, rounds, server_closes=True)


def category_9() -> Iterator[Case]:
    for offset, opcode in enumerate((TEXT, BINARY)):
        for index, size in enumerate(SIZES, start=1):
            yield volume(f"9.{1 + offset}.{index}", opcode, size)
        for index, size in enumerate(FRAGMENTS, start=1):
            yield volume(f"9.{3 + offset}.{index}", opcode, 4 * MIB, fragment=size)
        for index, size in enumerate(CHOPS, start=1):
            yield volume(f"9.{5 + offset}.{index}", opcode, MIB, chop=size)
        for index, size in enumerate(ECHOES, start=1):
            yield volume(f"9.{7 + offset}.{index}", opcode, size, count=1000)


CASES = [*category_9(), volume("10.1.1", TEXT, 65536, fragment=1300)]
