"""Categories 12 and 13: permessage-deflate, over kinds of data, sizes, fragments and parameters.

Of the thousand messages of each case `make test` plays as many as make about 200 kB; ``CONFORMANCE=full`` plays all.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from functools import cache

from tests.conformance.case import Case, Round
from tests.support.frames import BINARY, RSV1, TEXT, Deflater, cut, fragments

FULL = os.environ.get("CONFORMANCE") == "full"
MESSAGES, BYTES = 1000, 200_000

#: Size of the messages, and of the fragments that each is sent in.
SIZES: tuple[tuple[int, int | None], ...] = (
    *((16 << shift, None) for shift in (0, 2, 4, 6, 8, 9, 10, 11, 12, 13)),
    *((8192 << shift, 256) for shift in range(5)),
    (131072, 1024),
    (131072, 4096),
    (131072, 32768),
)


@cache
def sample(kind: str) -> bytes:
    """Return a corpus of that kind: as compressible as what the list names, made here, the same every time."""
    dice = random.Random(kind)
    words = ["".join(dice.choices("enisratdhulcgmobwfkzpvüäößjyxq", k=dice.randint(2, 11))) for _ in range(3000)]
    return MAKERS[kind](dice, words)


def as_json(dice: random.Random, words: list[str]) -> bytes:
    trades = [{"id": i, "name": dice.choice(words), "price": round(dice.lognormvariate(3, 1), 2)} for i in range(4000)]
    return json.dumps(trades, ensure_ascii=False).encode()


def as_bitmap(dice: random.Random, words: list[str]) -> bytes:
    value, pixels = 128, bytearray()
    for _ in range(512 * 512):
        value = (value + dice.choice((-3, -2, -1, -1, 0, 0, 1, 1, 2, 3))) & 0xFF
        pixels.append(value)
    return bytes(pixels)


def as_prose(dice: random.Random, words: list[str]) -> bytes:
    return " ".join(dice.choices(words, weights=[1 / (i + 1) for i in range(len(words))], k=40_000)).encode()


def as_html(dice: random.Random, words: list[str]) -> bytes:
    rows = (f'<tr class="row"><td><a href="/{dice.choice(words)}">{dice.choice(words)}</a></td></tr>\n' for _ in range(4000))
    return ("<table>\n" + "".join(rows) + "</table>").encode()


def as_noise(dice: random.Random, words: list[str]) -> bytes:
    return dice.randbytes(1 << 20)


MAKERS: dict[str, Callable[[random.Random, list[str]], bytes]] = {
    "json": as_json, "bitmap": as_bitmap, "prose": as_prose, "html": as_html, "noise": as_noise,
}  # fmt: skip


def messages(kind: str, opcode: int, size: int) -> Iterator[bytes]:
    """Yield what a case sends: pieces of the corpus, again and again; of text so many characters, as the list counts it."""
    around = sample(kind) if opcode == BINARY else sample(kind).decode()
    corpus = around * (size // len(around) + 2)
    for index in range(MESSAGES if FULL else max(2, min(50, BYTES // size))):
        start = index * size % len(around)
        piece = corpus[start : start + size]
        yield piece if isinstance(piece, bytes) else piece.encode()


def compressed(number: str, kind: str, opcode: int, size: int, fragment: int | None, answer: str) -> Case:
    """Return a case whose messages are sent compressed, each when the one before has come back."""
    takeover, window = "server_no_context_takeover" not in answer, 9 if "server_max_window_bits=9" in answer else 15

    def rounds() -> Iterator[Round]:
        deflater = Deflater(window, takeover)
        for message in messages(kind, opcode, size):
            payload = deflater.payload(message)
            frames = fragments(opcode, *cut(payload, fragment or len(payload)), first=RSV1)
            yield Round([b"".join(frames)], [(opcode, message)])

    extension = f"permessage-deflate{answer}"
    return Case(number, rounds, server_closes=True, extension=extension)


def parameters_of(no_takeover: bool, window_bits: int) -> str:
    """Return the answer's parameters that ask of both sides to give up their context, and for a window of this size."""
    both = ("server", "client")
    taken = "".join(f"; {side}_no_context_takeover" for side in both) if no_takeover else ""
    return taken + ("".join(f"; {side}_max_window_bits={window_bits}" for side in both) if window_bits else "")


#: Of the last case's three wishes the first is granted.
PARAMETERS = ((False, 0), (True, 0), (False, 9), (False, 15), (True, 9), (True, 15), (True, 9))
KINDS = (("json", TEXT), ("bitmap", BINARY), ("prose", BINARY), ("html", TEXT), ("noise", BINARY))

CASES = [
    *(
        compressed(f"12.{group}.{index}", kind, opcode, size, fragment, "")
        for group, (kind, opcode) in enumerate(KINDS, start=1)
        for index, (size, fragment) in enumerate(SIZES, start=1)
    ),
    *(
        compressed(f"13.{group}.{index}", "json", TEXT, size, fragment, parameters_of(*wishes))
        for group, wishes in enumerate(PARAMETERS, start=1)
        for index, (size, fragment) in enumerate(SIZES, start=1)
    ),
]
