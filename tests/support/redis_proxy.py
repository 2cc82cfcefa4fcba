"""A TCP way to a server on a Unix socket: it can speak TLS, be slow, lose replies, hold requests back, be cut, lead elsewhere."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from pathlib import Path

from tests.support.raw_server import RawServer


class RedisProxy(RawServer):
    """Relays to the server at ``path``, at most ``rate`` bytes per second of all connections together.

    While ``losing`` is set, every reply is read from the server (so the command was executed), dropped, and the connection cut.
    What is asked on a connection while it is held goes on at its release, also where the client has left meanwhile.
    """

    def __init__(self, path: Path, context: ssl.SSLContext | None = None, rate: float | None = None) -> None:
        super().__init__(self._serve)
        self._path = str(path)
        self._context = context
        self._rate = rate
        self._road = threading.Lock()
        self._held: set[socket.socket] = set()
        self.losing = threading.Event()
        if rate is not None:
            # Little is on the way at once, as on a real road: else megabytes would wait in a buffer of ours.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        #: Replies that were dropped.
        self.lost = 0
        #: Bytes that clients sent, whether they got to the server or not.
        self.received = 0

    @property
    def url(self) -> str:
        return f"{'rediss' if self._context else 'redis'}://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Cut every connection there is."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        """Let nothing more pass on the connections there are; new ones pass."""
        self._held = set(self._connections)

    def abandon(self) -> None:
        """End the held connections for their clients; what they have asked is not forgotten."""
        for connection in self._held:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        self._held = set()

    def switch(self, path: Path) -> None:
        """Lead new connections to another server."""
        self._path = str(path)

    def _serve(self, connection: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as upstream:
            try:
                upstream.connect(self._path)
            except OSError:
                return  # it is down, so its clients are refused
            if self._context is None:
                self._relay(connection, upstream)
            else:
                with contextlib.suppress(ssl.SSLError), self._context.wrap_socket(connection, server_side=True) as secured:
                    self._relay(secured, upstream)

    def _relay(self, connection: socket.socket, upstream: socket.socket) -> None:
        back = threading.Thread(target=self._replies, args=(upstream, connection), daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            while data := self._read(connection):
                upstream.sendall(data)
        with contextlib.suppress(OSError):
            while self._read(connection):
                pass  # what was on the way when the server left
        for sock in (upstream, connection):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        back.join(10)

    def _read(self, connection: socket.socket) -> bytes:
        data = connection.recv(65536)
        self.received += len(data)
        if self._rate is not None:
            with self._road:
                time.sleep(len(data) / self._rate)
        while connection in self._held and not self.closing.is_set():
            time.sleep(0.01)
        return data

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
