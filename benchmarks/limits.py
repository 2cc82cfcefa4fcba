"""What the machine allows, without end: ``limits.py push SIZE`` fills the queue, ``limits.py recv URL [CA_FILE]`` only reads.

``push`` is one HSET and one RPUSH for each of a thousand messages a round trip, over a bare socket, without a script; a message
is as large as one of Dramatiq's. ``recv`` tells the number of bytes read in the key ``received``.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import time
from urllib.parse import urlsplit

import redis

#: What a message has besides its payload (settings/wire.py).
ENVELOPE = 330
BATCH = 1000
READ = 256 * 1024


def push(size: int) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(os.environ["REDIS_URL"].removeprefix("unix://"))
        data, number = b"x" * (size + ENVELOPE), 0
        while True:
            parts = []
            for _ in range(BATCH):
                number += 1
                name = b"%036d" % number
                parts.append(
                    b"*4\r\n$4\r\nHSET\r\n$20\r\ndramatiq:trades.msgs\r\n$36\r\n%b\r\n$%d\r\n%b\r\n" % (name, len(data), data)
                )
                parts.append(b"*3\r\n$5\r\nRPUSH\r\n$15\r\ndramatiq:trades\r\n$36\r\n%b\r\n" % name)
            sock.sendall(b"".join(parts))
            replies = 0
            while replies < 2 * BATCH:
                replies += sock.recv(65536).count(b"\n")


def recv(url: str, ca_file: str | None = None) -> None:
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port))
    if ca_file:
        sock = ssl.create_default_context(cafile=ca_file).wrap_socket(sock, server_hostname=parts.hostname)
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    sock.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode())
    buffer, received, told = memoryview(bytearray(READ)), 0, 0.0
    while count := sock.recv_into(buffer):
        received += count
        if time.monotonic() - told > 0.02:
            client.set("received", received)
            told = time.monotonic()


if __name__ == "__main__":
    {"push": lambda size: push(int(size)), "recv": recv}[sys.argv[1]](*sys.argv[2:])
