"""A server that sends as fast as it is read: the same text frame, so many times, to every client.

The rule: a process of its own, standard library only, so that it costs the measured side nothing but the other core.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import sys
from typing import Protocol


class Client(Protocol):
    """The part of a socket that the upgrade needs."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...


GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(size: int) -> bytes:
    """Return a text frame with ``size`` bytes of JSON in it."""
    payload = b'{"e":"trade","p":"65000.1","x":"'
    payload += b"x" * (size - len(payload) - 2) + b'"}'
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


def accept_upgrade(client: Client) -> str:
    """Answer the upgrade; return the path that was asked for."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += client.recv(4096)
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    client.sendall(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    return request.split(b" ")[1].decode()


def serve(client: socket.socket, size: int, count: int) -> None:
    accept_upgrade(client)
    chunk = frame(size) * 500
    for _ in range(count // 500):
        client.sendall(chunk)
    while client.recv(65536):  # until the client leaves
        pass


def main(size: int, count: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"ws://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        while True:
            client, _ = listener.accept()
            with client:
                try:
                    serve(client, size, count)
                except OSError:
                    continue  # the client has measured enough


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
