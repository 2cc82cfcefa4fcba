"""What the sending servers share: the answer to an upgrade, the head of a frame, TLS in memory, one client after the other.

The rule: standard library only, so that a server costs the measured side nothing but the other core.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Protocol

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Client(Protocol):
    """The part of a socket that a server needs; `Secured` has it too."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """Return an unmasked frame of less than 64 KiB; without a ``first`` byte it is a text."""
    size = len(payload)
    return (bytes((first, size)) if size < 126 else bytes((first, 126)) + size.to_bytes(2, "big")) + payload


def accept_upgrade(client: Client) -> list[str]:
    """Answer the upgrade, with compression where the path ends with ``/deflate``; return the parts of the path."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += client.recv(4096)
    path = request.split(b" ", 2)[1].decode().strip("/").split("/")
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
    lines.append(b"Sec-WebSocket-Accept: " + accept)
    if path[-1] == "deflate":
        lines.append(b"Sec-WebSocket-Extensions: permessage-deflate")
    client.sendall(b"\r\n".join([*lines, b"", b""]))
    return path


class Secured:
    """A client under TLS, encrypted in memory: many records may leave in one write, or be kept until they are wanted."""

    def __init__(self, client: socket.socket, context: ssl.SSLContext) -> None:
        self._client = client
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while not self._handshake():
            self._take_in()

    def _handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._client.sendall(self._outgoing.read())
        return True

    def recv(self, size: int, /) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._take_in()

    def _take_in(self) -> None:
        data = self._client.recv(65536)
        if not data:
            raise ConnectionResetError("the client has left")
        self._incoming.write(data)

    def sendall(self, data: bytes, /) -> None:
        self._client.sendall(self.records([data]))

    def records(self, writes: Iterable[bytes]) -> bytes:
        """Return the records that carry these writes."""
        for write in writes:
            self._tls.write(write)
        return self._outgoing.read()


def serve_clients(serve: Callable[[socket.socket], None]) -> None:
    """Print the port, then serve one client after the other, without end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            with client:
                try:
                    serve(client)
                except OSError:
                    continue  # the client has had enough


def serve_secured(serve: Callable[[socket.socket, Secured | None], None], certificate: str | None) -> None:
    """The same; over TLS, if there is a certificate (a PEM file with its key)."""
    if certificate is None:
        serve_clients(lambda client: serve(client, None))
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    serve_clients(lambda client: serve(client, Secured(client, context)))
