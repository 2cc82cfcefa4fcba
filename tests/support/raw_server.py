"""A TCP server whose every connection is handled by a function, for servers that do what no library would do."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

Handler = Callable[[socket.socket], None]


class RawServer:
    """Calls ``handler(connection)`` in a thread of its own for every connection, and closes the connection after it.

    What a handler raises fails the ``with`` block, except for the ways in which a client may leave.
    """

    def __init__(self, handler: Handler, host: str = "127.0.0.1") -> None:
        self._handler = handler
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._errors: list[BaseException] = []
        #: How many clients have connected.
        self.accepted = 0
        #: Set when the ``with`` block ends: handlers that stall wait for it.
        self.closing = threading.Event()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes whatever a handler waits in
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a handler does not end"
        self._listener.close()
        if kind is None and self._errors:
            raise self._errors[0]

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._connections.append(connection)
            self._start(self._handle, connection)

    def _handle(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._handler(connection)
            except (ConnectionError, TimeoutError):
                pass  # the client left
            except BaseException as error:
                self._errors.append(error)


def read_request(connection: socket.socket) -> str:
    """Return the request head that comes, as text."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        more = connection.recv(1)
        if not more:
            raise ConnectionResetError("the client left within its request")
        data += more
    return data.decode("latin-1")


def accept_key(request: str) -> str:
    """Return the right ``Sec-WebSocket-Accept`` for a request."""
    matched = re.search(r"^sec-websocket-key: *(\S+)\r$", request, re.IGNORECASE | re.MULTILINE)
    assert matched is not None, "a request without a key"
    return base64.b64encode(hashlib.sha1(f"{matched[1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()


def switching(request: str, *more: str) -> bytes:
    """Return the right 101 for a request, with ``more`` header lines."""
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines.append(f"Sec-WebSocket-Accept: {accept_key(request)}")
    return "\r\n".join([*lines, *more, "", ""]).encode("latin-1")


def accept_upgrade(connection: socket.socket, *more: str) -> str:
    """Read the request, answer it with the right 101, and return it."""
    request = read_request(connection)
    connection.sendall(switching(request, *more))
    return request


def dribble(connection: socket.socket, data: bytes, closing: threading.Event, pause: float = 0.1) -> None:
    """Send ``data`` byte by byte with pauses, until the server closes."""
    for index in range(len(data)):
        connection.sendall(data[index : index + 1])
        if closing.wait(pause):
            return


@contextlib.contextmanager
def requests_seen(*more: str) -> Iterator[tuple[RawServer, list[str]]]:
    """A server that upgrades whoever asks, and the requests that it saw."""
    requests: list[str] = []

    def handler(connection: socket.socket) -> None:
        request = read_request(connection)
        requests.append(request)
        connection.sendall(switching(request, *more))
        server.closing.wait(30)

    with RawServer(handler) as server:
        yield server, requests
