"""A server that sends text frames without end, as fast as they are taken: ``flood_server.py [CERTIFICATE]`` prints its port.

``/SIZE`` asks for frames of that size, ``/SIZE/deflate`` for compressed ones. With a certificate (a PEM file with its key) it
speaks TLS, one record per message, as venues do (above 16 kB it takes two). The rule: standard library only, and what can be made
before the first byte is made then, so that the sender is not what is measured. No two frames of a cycle are the same.
"""

from __future__ import annotations

import random
import socket
import sys
import zlib
from collections.abc import Callable, Sequence

from benchmarks.sending import Secured, accept_upgrade, frame, serve_secured

#: What a cycle of frames has in bytes, and how much is handed to the system at once.
CYCLE, WRITE = 1_000_000, 100_000


def messages(size: int) -> list[bytes]:
    """Return a cycle of JSON texts of ``size`` bytes: trades with prices, amounts and ids that differ."""
    chance = random.Random(size)
    return [message(size, chance) for _ in range(CYCLE // size)]


def message(size: int, chance: random.Random) -> bytes:
    text = b'{"e":"trade","d":['
    while True:
        more = b'{"p":"%d.%d","q":"0.%05d","t":%d},' % (
            chance.randrange(60_000, 70_000),
            chance.randrange(10),
            chance.randrange(100_000),
            chance.randrange(10**9, 10**10),
        )
        if len(text) + len(more) > size - 12:
            break
        text += more
    return text + b'"%s"]}' % (b"x" * (size - len(text) - 4))


def cycles(size: int, *, deflate: bool) -> tuple[list[bytes], list[bytes]]:
    """Return the first cycle of frames, and the one to repeat: a compressed one refers to the end of the one before."""
    texts = messages(size)
    if not deflate:
        once = [frame(text) for text in texts]
        return once, once
    deflater = zlib.compressobj(wbits=-15)
    first, again = ([frame(compressed(deflater, text), 0xC1) for text in texts] for _ in range(2))
    return first, again


def compressed(deflater: zlib._Compress, text: bytes) -> bytes:
    return (deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def serve(client: socket.socket, secured: Secured | None) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    size, *more = accept_upgrade(secured or client)
    first, again = cycles(int(size), deflate=more == ["deflate"])
    written = secured.records if secured is not None else b"".join
    flood(client, first, written)
    while True:
        flood(client, again, written)


def flood(client: socket.socket, frames: Sequence[bytes], written: Callable[[Sequence[bytes]], bytes]) -> None:
    step = max(1, WRITE * len(frames) // CYCLE)
    for start in range(0, len(frames), step):
        client.sendall(written(frames[start : start + step]))


if __name__ == "__main__":
    serve_secured(serve, sys.argv[1] if len(sys.argv) > 1 else None)
