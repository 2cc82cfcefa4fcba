"""The server of `receive`: whoever asks for ``/SIZE/COUNT`` gets so many text frames of that size, as fast as it reads.

``python -m benchmarks.receive_server [CERTIFICATE]`` (a PEM file with its key) prints the port. The rule: the measured side pays
nothing for what happens here. Under TLS all records are made before the first is sent, one for each frame, as venues send them.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Iterator

from benchmarks.flood import accept_upgrade, frame

#: What one plain write has at most.
CHUNK_BYTES = 1 << 20


class Secured:
    """A client under TLS, encrypted in memory, so that what is made of the frames can be kept until it is wanted."""

    def __init__(self, client: socket.socket, context: ssl.SSLContext) -> None:
        self._client = client
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while not self._handshake():
            self._incoming.write(client.recv(65536))

    def _handshake(self) -> bool:
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
                data = self._client.recv(65536)
                if not data:
                    return b""
                self._incoming.write(data)

    def sendall(self, data: bytes) -> None:
        self._client.sendall(self.records([data]))

    def records(self, writes: Iterator[bytes] | list[bytes]) -> bytes:
        """Return the records that carry these writes."""
        for write in writes:
            self._tls.write(write)
        return self._outgoing.read()


def serve(client: socket.socket, context: ssl.SSLContext | None) -> None:
    secured = Secured(client, context) if context is not None else None
    path = accept_upgrade(secured or client)
    size, count = map(int, path.strip("/").split("/"))
    one = frame(size)
    if secured is not None:
        client.sendall(secured.records([one] * count))
    else:
        chunk = CHUNK_BYTES // len(one) + 1
        for _ in range(count // chunk):
            client.sendall(one * chunk)
        client.sendall(one * (count % chunk))
    while client.recv(65536):  # until the client leaves
        pass


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
                    continue  # the client has measured enough


if __name__ == "__main__":
    main(*sys.argv[1:])
