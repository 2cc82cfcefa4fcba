"""Category 7: the closing handshake."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.case import Case, closes, fails, text, whole
from tests.conformance.utf8 import SPOILED
from tests.support.frames import CLOSE, PING, TEXT, close, fragments

HELLO = b"Hello World!"
LARGE = (b"BAsd7&jh23" * 26215)[: 256 << 10]

VALID_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
RESERVED_CODES = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)


def order() -> Iterator[Case]:
    """What comes before a close frame counts, what comes after it does not."""
    one, two = fragments(TEXT, b"fragment1", b"fragment2")
    yield closes("7.1.1", [whole(TEXT, HELLO), close(1000)], 1000, text(HELLO))
    yield closes("7.1.2", [close(1000) + whole(CLOSE)], 1000)
    yield closes("7.1.3", [close(1000) + whole(PING)], 1000)
    yield closes("7.1.4", [close(1000) + whole(TEXT, HELLO)], 1000)
    yield closes("7.1.5", [one + close(1000) + two], 1000)
    yield closes("7.1.6", [whole(TEXT, LARGE), whole(TEXT, HELLO), close(1000), whole(PING)], 1000, text(LARGE), text(HELLO))


def payloads() -> Iterator[Case]:
    yield closes("7.3.1", [whole(CLOSE)], 1000)
    yield fails("7.3.2", [whole(CLOSE, b"a")], 1002)
    yield closes("7.3.3", [close(1000)], 1000)
    yield closes("7.3.4", [close(1000, b"Hello World!")], 1000)
    yield closes("7.3.5", [close(1000, b"*" * 123)], 1000)
    yield fails("7.3.6", [close(1000, b"*" * 124)], 1002)
    yield fails("7.5.1", [close(1000, SPOILED)], 1007)


def codes() -> Iterator[Case]:
    for index, code in enumerate(VALID_CODES, start=1):
        yield closes(f"7.7.{index}", [close(code)], code)
    for index, code in enumerate(RESERVED_CODES, start=1):
        yield fails(f"7.9.{index}", [close(code)], 1002)
    for index, code in enumerate((5000, 65535), start=1):
        yield fails(f"7.13.{index}", [close(code)], 1002)


CASES = [*order(), *payloads(), *codes()]
