"""A compression bomb over a real connection: 1009, and no more memory than the limit and a few MB (measured from outside)."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from functools import cache

import pytest

from tests.conformance.server import Client
from tests.support.frames import BINARY, CLOSE, CONTINUATION, FIN, RSV1, TEXT, close, cut, frame
from tests.support.raw_server import RawServer, accept_upgrade

MIB = 1 << 20


@cache
def bomb(size: int) -> bytes:
    """Return the payload of a compressed message of so many zeros."""
    squeezed = zlib.compressobj(9, wbits=-15)
    parts = [squeezed.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join(parts) + squeezed.flush(zlib.Z_SYNC_FLUSH)[:-4]


def as_frames(payload: bytes, opcode: int, pieces: int) -> bytes:
    parts = list(cut(payload, len(payload) // pieces + 1))
    last = len(parts) - 1
    return b"".join(
        frame(CONTINUATION if i else opcode, part, first=(0 if i else RSV1) | (FIN if i == last else 0))
        for i, part in enumerate(parts)
    )


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("pieces", [1, 300])
@pytest.mark.parametrize("limit", [MIB, 16 * MIB])
def test_a_bomb_ends_the_connection_with_1009_and_little_memory(opcode: int, pieces: int, limit: int) -> None:
    stream, codes = as_frames(bomb(128 * MIB), opcode, pieces), []

    def handler(connection: socket.socket) -> None:
        connection.settimeout(20)
        request = accept_upgrade(connection, "Sec-WebSocket-Extensions: permessage-deflate")
        with connection.makefile("rb") as sent:
            if "/peace" in request:
                connection.sendall(frame(TEXT, b"") + close(1000))
                assert Client(sent).next() == (TEXT, b"")
                return
            with suppress(ConnectionError):  # the client says close, and waits a second for us to take the rest of it back
                connection.sendall(stream)
            opcode, payload = Client(sent).next()
            assert opcode == CLOSE
            codes.append(struct.unpack("!H", payload[:2])[0])

    with RawServer(handler) as server:
        command = [sys.executable, "-m", "tests.support.bomb_client", f"ws://127.0.0.1:{server.port}/", str(limit)]
        told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout)

    assert codes == [1009]
    assert told["code"] == 1009
    if told["grown"] is None:
        pytest.skip("the system does not tell how much memory a process holds")
    print(f"limit {limit // MIB} MiB, {pieces} frames: {told['grown']:.1f} MiB more")
    # The message so far, what is kept ready for it to grow, and the steps in which it is inflated.
    assert told["grown"] < 1.5 * limit / MIB + 2
