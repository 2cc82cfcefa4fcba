"""A TCP way to a server on a Unix socket that can speak TLS, lose replies, and be cut."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path

from tests.support.raw_server import RawServer


class RedisProxy(RawServer):
    """Relays to the server at ``path``.

    While ``losing`` is set, every reply is read from the server (so the command was executed), dropped, and the connection cut.
    """

    def __init__(self, path: Path, context: ssl.SSLContext | None = None) -> None:
        super().__init__(self._serve)
        self._path = str(path)
        self._context = context
        self.losing = threading.Event()
        #: Replies that were dropped.
        self.lost = 0
        #: Bytes that clients sent.
        self.received = 0

    @property
    def url(self) -> str:
        return f"{'rediss' if self._context else 'redis'}://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Cut every connection there is."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _serve(self, connection: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(self._path)
            if self._context is None:
                self._relay(connection, upstream)
            else:
                with contextlib.suppress(ssl.SSLError), self._context.wrap_socket(connection, server_side=True) as secured:
                    self._relay(secured, upstream)

    def _relay(self, connection: socket.socket, upstream: socket.socket) -> None:
        back = threading.Thread(target=self._replies, args=(upstream, connection), daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            while data := connection.recv(65536):
                self.received += len(data)
                upstream.sendall(data)
        for sock in (upstream, connection):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        back.join(10)

    def _replies(self, upstream: socket.socket, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := upstream.recv(65536):
                if self.losing.is_set():
                    self.lost += 1
                    break
                connection.sendall(data)
        for sock in (upstream, connection):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
