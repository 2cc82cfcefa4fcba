"""A small HTTP server for health and metrics, in a thread of its own.

The rule: whoever talks to it gets a few seconds and a few kilobytes; more clients than it has places for are turned away, so that
no client, however slow or rude, costs a feed anything.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import socket
import socketserver
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from threading import BoundedSemaphore, Thread
from typing import Any

from ingest.clock import Deadline
from ingest.service.health import Answer
from ingest.service.threads import start
from ingest.telemetry.facts import safe_text
from ingest.telemetry.log import log_event

#: Seconds for one client, from its connection to the last byte of the answer.
PATIENCE = 5.0

#: Bytes of a request at most, and clients at once.
LONGEST_REQUEST = 16 * 1024
PLACES = 8

#: Seconds between two looks whether to end.
POLL = 0.2

Routes = Mapping[str, Callable[[str], Answer]]


class AddressUnusable(Exception):
    """The server cannot listen where it should; the text says why and what to do."""


class HTTPServer:
    """Listens from the start, answers from `start` on; a port of 0 takes one that is free."""

    def __init__(self, host: str, port: int) -> None:
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            self._server = _Server(family, address)
        except OSError as error:
            raise AddressUnusable(_explained(error, host, port)) from None
        self._host = host
        self._thread: Thread | None = None

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    def start(self, routes: Routes) -> None:
        """Answer by these routes from now on."""
        self._server.routes = routes
        self._thread = start("health", lambda: self._server.serve_forever(poll_interval=POLL))

    def close(self) -> None:
        """Listen no more; answers under way are given up."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    allow_reuse_port = False  # two processes on one port would each answer for the other
    daemon_threads = True
    block_on_close = False

    def __init__(self, family: int, address: Any) -> None:
        self.address_family = family
        self.routes: Routes = {}
        self.told: set[str] = set()
        self._places = BoundedSemaphore(PLACES)
        super().__init__(address, _Handler)

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except OSError:  # no descriptor is left, say: whoever waits goes on waiting, and must not keep us busy
            time.sleep(POLL)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that leaves in the middle is its own business."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "dramatiq-websocket"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._deadline = Deadline(PATIENCE)
        self.rfile = io.BufferedReader(_Request(self.connection, self._deadline))

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: who asks every few seconds is no news."""

    def _answer(self, *, with_body: bool) -> None:
        status, content_type, body = self._find_answer(self.path.partition("?")[0])
        self.connection.settimeout(max(0.1, self._deadline.remaining()))
        self.send_response(status)
        for name, value in (
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _find_answer(self, path: str) -> Answer:
        route = self.server.routes.get(path)
        if route is None:
            return _refusal(404, f"there is nothing here; there are {', '.join(self.server.routes)}")
        try:
            return route(self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not look like a client's, nor end the server
            if path not in self.server.told:
                self.server.told.add(path)
                log_event(logging.ERROR, "health_failed", {"path": path, "detail": safe_text(str(error))}, cause=error)
            return _refusal(500, f"the answer could not be made: {type(error).__name__}")


class _Request(io.RawIOBase):
    """What a client sends, until its time or its bytes are used up."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._left = LONGEST_REQUEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self._left <= 0:
            return 0
        remaining = self._deadline.remaining()
        if remaining <= 0:
            raise TimeoutError
        self._connection.settimeout(remaining)
        count = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count


def _refusal(status: int, reason: str) -> Answer:
    return status, "application/json", json.dumps({"ok": False, "reason": reason}).encode() + b"\n"


def _explained(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} on {host} is in use: does another supervisor run here? Choose another, or 0 for any that is free"
        case errno.EACCES:
            return f"this user may not listen on port {port}: choose one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine"
    if isinstance(error, socket.gaierror):
        return f"{host} is no address, and no name that can be looked up"
    return f"cannot listen on {host}, port {port}: {error.strerror or type(error).__name__}"
