"""The server of `receive`: whoever asks for ``/SIZE/COUNT`` gets so many text frames of that size, as fast as it reads.

``python -m benchmarks.receive_server [CERTIFICATE]`` (a PEM file with its key) prints the port. The rule: the measured side pays
nothing for what happens here. Under TLS all records are made before the first is sent, one for each frame, as venues send them.
"""

from __future__ import annotations

import socket
import sys

from benchmarks.flood import same_frame
from benchmarks.sending import Secured, accept_upgrade, serve_secured

#: What one plain write has at most.
CHUNK_BYTES = 1 << 20


def serve(client: socket.socket, secured: Secured | None) -> None:
    size, count = map(int, accept_upgrade(secured or client))
    one = same_frame(size)
    if secured is not None:
        client.sendall(secured.records([one] * count))
    else:
        chunk = CHUNK_BYTES // len(one) + 1
        for _ in range(count // chunk):
            client.sendall(one * chunk)
        client.sendall(one * (count % chunk))
    while client.recv(65536):  # until the client leaves
        pass


if __name__ == "__main__":
    serve_secured(serve, sys.argv[1] if len(sys.argv) > 1 else None)
