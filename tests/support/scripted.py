"""Clients for scripted servers: the `websockets` library's, and a bare socket that shows the bytes themselves."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ingest.testing import Script, ScriptedServer


def dial(server: ScriptedServer, path: str = "", **options: object) -> ClientConnection:
    return connect(server.url + path, compression=None, proxy=None, **options)  # type: ignore[arg-type]


def failure_of(script: Script, play: Callable[[ScriptedServer], None]) -> AssertionError:
    """Play a client against a script, and return what the end of the server raises."""
    server = ScriptedServer(script)
    server.__enter__()
    play(server)
    with pytest.raises(AssertionError) as failure:
        server.__exit__(None, None, None)
    return failure.value


def come_and_go(server: ScriptedServer, **options: object) -> None:
    with dial(server, **options):
        pass
    server.wait_until(lambda: server.recordings[-1].left, "the client left")


def until_closed(client: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed):
        client.recv(timeout=5)


def bare(server: ScriptedServer, tls: ssl.SSLContext | None = None) -> socket.socket:
    """Upgrade without any library, to see the bytes themselves.

    Over TLS it is the client to use: the library's reads in one thread and writes in another, and one `SSLSocket` does not
    survive that.
    """
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname="127.0.0.1")
    sock.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return sock


def read_to_end(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data
