"""A server that sends text frames without end, as fast as they are taken: ``flood_server.py [CERTIFICATE]`` prints its port.

``/SIZE`` asks for frames of that size, ``/SIZE/deflate`` for compressed ones. With a certificate (a PEM file with its key) it
speaks TLS, one record per message, as venues do (above 16 kB it takes two). The rule: standard library only, and what can be made
before the first byte is made then, so that the sender is not what is measured. No two frames of a cycle are the same.
"""

from __future__ import annotations

import base64
import hashlib
import random
import socket
import ssl
import sys
import zlib
from collections.abc import Callable, Sequence

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: What a cycle of frames has in bytes, and how much is handed to the system at once.
CYCLE, WRITE = 1_000_000, 100_000

Send = Callable[[Sequence[bytes]], None]


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


def frame(payload: bytes, first: int = 0x81) -> bytes:
    size = len(payload)
    return (bytes((first, size)) if size < 126 else bytes((first, 126)) + size.to_bytes(2, "big")) + payload


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


class Secured:
    """A client under TLS, encrypted in memory, so that many records leave in one write."""

    def __init__(self, client: socket.socket, context: ssl.SSLContext) -> None:
        self._client = client
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while not self._shaken():
            self._incoming.write(client.recv(65536))

    def _shaken(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._client.sendall(self._outgoing.read())
        return True

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._incoming.write(self._client.recv(65536))

    def send(self, frames: Sequence[bytes]) -> None:
        for each in frames:
            self._tls.write(each)
        self._client.sendall(self._outgoing.read())


def serve(client: socket.socket, context: ssl.SSLContext | None) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    secured = Secured(client, context) if context is not None else None
    send: Send = secured.send if secured is not None else lambda frames: client.sendall(b"".join(frames))
    size, deflate = upgrade((secured or client).recv, send)
    first, again = cycles(size, deflate=deflate)
    flood(send, first)
    while True:
        flood(send, again)


def flood(send: Send, frames: Sequence[bytes]) -> None:
    step = max(1, WRITE * len(frames) // CYCLE)
    for start in range(0, len(frames), step):
        send(frames[start : start + step])


def upgrade(recv: Callable[[int], bytes], send: Send) -> tuple[int, bool]:
    """Answer the request; return the size that it asks for, and whether compressed."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += recv(4096)
    path = request.split(b" ", 2)[1].decode().strip("/").split("/")
    deflate = path[1:] == ["deflate"]
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
    lines.append(b"Sec-WebSocket-Accept: " + accept)
    if deflate:
        lines.append(b"Sec-WebSocket-Extensions: permessage-deflate")
    send([b"\r\n".join([*lines, b"", b""])])
    return int(path[0]), deflate


def main(certificate: str | None = None) -> None:
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            with client:
                try:
                    serve(client, context)
                except OSError:
                    continue  # the client has had enough


if __name__ == "__main__":
    main(*sys.argv[1:])
