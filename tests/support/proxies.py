"""A small CONNECT proxy and a small SOCKS proxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from base64 import b64encode

from tests.support.raw_server import RawServer, read_request


def relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until one side ends."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join(10)


class ConnectProxy(RawServer):
    """An HTTP proxy that makes tunnels; ``credentials`` ("user:password") are insisted on, ``context`` makes it https.

    ``pieces`` says in how many writes its answer leaves.
    """

    def __init__(self, credentials: str | None = None, context: ssl.SSLContext | None = None, pieces: int = 1) -> None:
        super().__init__(self._serve)
        self._credentials = credentials
        self._context = context
        self._pieces = pieces
        #: The targets of the tunnels that were asked for, as ``host:port``.
        self.targets: list[str] = []

    def _serve(self, connection: socket.socket) -> None:
        if self._context is None:
            self._tunnel(connection)
        else:
            with contextlib.suppress(ssl.SSLError), self._context.wrap_socket(connection, server_side=True) as secured:
                self._tunnel(secured)

    def _tunnel(self, connection: socket.socket) -> None:
        request = read_request(connection)
        target = request.split(" ")[1]
        self.targets.append(target)
        if self._credentials is not None:
            expected = f"Proxy-Authorization: Basic {b64encode(self._credentials.encode()).decode()}\r\n"
            if expected not in request:
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
        host, _, port = target.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port))) as server:
            self._answer(connection, b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            relay(connection, server)

    def _answer(self, connection: socket.socket, answer: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step = -(-len(answer) // self._pieces)
        for start in range(0, len(answer), step):
            connection.sendall(answer[start : start + step])
            self.closing.wait(0.01 if self._pieces > 1 else 0)


class SocksProxy(RawServer):
    """A SOCKS 4, 4a and 5 proxy; with SOCKS 5 it insists on ``credentials`` ("user:password") and answers with ``refuse``."""

    def __init__(self, credentials: str | None = None, refuse: int = 0) -> None:
        super().__init__(self._serve)
        self._credentials = credentials
        self._refuse = refuse
        #: What was asked for: ``(version, host, port)``, the host as it came over the wire.
        self.requests: list[tuple[int, str, int]] = []

    def _serve(self, connection: socket.socket) -> None:
        version = _exactly(connection, 1)[0]
        target = self._five(connection) if version == 5 else self._four(connection)
        if target is None:
            return
        self.requests.append((version, *target))
        with socket.create_connection(target) as server:
            connection.sendall(b"\5\0\0\1\0\0\0\0\0\0" if version == 5 else b"\0\x5a\0\0\0\0\0\0")
            relay(connection, server)

    def _five(self, connection: socket.socket) -> tuple[str, int] | None:
        methods = _exactly(connection, _exactly(connection, 1)[0])
        method = 0 if self._credentials is None else 2
        connection.sendall(bytes([5, method if method in methods else 0xFF]))
        if method not in methods:
            return None
        if self._credentials is not None:
            _exactly(connection, 1)
            user = _exactly(connection, _exactly(connection, 1)[0])
            password = _exactly(connection, _exactly(connection, 1)[0])
            right = f"{user.decode()}:{password.decode()}" == self._credentials
            connection.sendall(b"\1\0" if right else b"\1\1")
            if not right:
                return None
        _, _, _, kind = _exactly(connection, 4)
        if kind == 1:
            host = socket.inet_ntop(socket.AF_INET, _exactly(connection, 4))
        elif kind == 4:
            host = socket.inet_ntop(socket.AF_INET6, _exactly(connection, 16))
        else:
            host = _exactly(connection, _exactly(connection, 1)[0]).decode()
        (port,) = struct.unpack("!H", _exactly(connection, 2))
        if self._refuse:
            connection.sendall(bytes([5, self._refuse, 0, 1, 0, 0, 0, 0, 0, 0]))
            return None
        return host, port

    def _four(self, connection: socket.socket) -> tuple[str, int]:
        _, port, address = struct.unpack("!BH4s", _exactly(connection, 7))
        _until_zero(connection)  # the user
        named = address[:3] == b"\0\0\0" and address[3] != 0
        return (_until_zero(connection).decode() if named else socket.inet_ntop(socket.AF_INET, address)), port


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionResetError("the client left")
        data += more
    return data


def _until_zero(connection: socket.socket) -> bytes:
    data = b""
    while (byte := _exactly(connection, 1)) != b"\0":
        data += byte
    return data
