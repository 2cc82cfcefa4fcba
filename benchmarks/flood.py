"""A server that sends as fast as it is read: the same text frame, so many times, to every client.

The rule: a process of its own (see `sending`).
"""

from __future__ import annotations

import socket
import sys
from functools import partial

from benchmarks.sending import accept_upgrade, frame, serve_clients


def same_frame(size: int) -> bytes:
    """Return a text frame with ``size`` bytes of JSON in it."""
    payload = b'{"e":"trade","p":"65000.1","x":"'
    return frame(payload + b"x" * (size - len(payload) - 2) + b'"}')


def serve(size: int, count: int, client: socket.socket) -> None:
    accept_upgrade(client)
    chunk = same_frame(size) * 500
    for _ in range(count // 500):
        client.sendall(chunk)
    while client.recv(65536):  # until the client leaves
        pass


if __name__ == "__main__":
    serve_clients(partial(serve, int(sys.argv[1]), int(sys.argv[2])))
