"""Runs the page until it is told to stop. The only importer of uvicorn.

The rule: the port is taken, and what is wrong with it said, before anything else starts; a client that says nothing is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ingest.web.guard import App

#: Seconds for requests that are under way at the end.
LAST_REQUESTS = 1

#: Connections at once; further ones are answered 503.
MOST_CONNECTIONS = 300

#: Seconds in which a new connection must have sent the head of a request.
FIRST_REQUEST = 10.0

#: Bytes of a request's head.
LARGEST_HEAD = 32_768


class AddressUnusable(Exception):
    """Nobody can listen there; the text says where and why."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; `AddressUnusable`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(128)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise AddressUnusable(_explained(error, host, port)) from error
    return sock


def address_url(sock: socket.socket) -> str:
    """Return where a socket listens, as a URL."""
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(app: App, sock: socket.socket, begun: Callable[[], object], end: Callable[[], object]) -> None:
    """Serve until SIGTERM or SIGINT.

    ``begun`` is called when requests are answered and signals heeded, ``end`` at the end, for streams that would never end by
    themselves.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",  # what clients get wrong is theirs, and would fill the log
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=LAST_REQUESTS,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=LARGEST_HEAD,
    )
    _Server(config, begun, end).run([sock])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, begun: Callable[[], object], end: Callable[[], object]) -> None:
        super().__init__(config)
        self._begun = begun
        self._end = end

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals, and do not raise them once more at the end as uvicorn would: to be stopped is no failure."""
        handlers = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end()
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """Closes connections on which no request comes: they would take the places of others."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        asyncio.get_running_loop().call_later(FIRST_REQUEST, self._expect_request)

    def _expect_request(self) -> None:
        cycle: object = self.cycle  # None until a request has come, whatever its type says
        if cycle is None:
            self.transport.close()


def _explained(error: OSError, host: str, port: int) -> str:
    where = f"{host} port {port}"
    if isinstance(error, socket.gaierror):
        return f"{where}: there is no such address; --host takes one of this machine's"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where}: another process listens there; end it, or give another --port"
        case errno.EACCES:
            return f"{where}: ports below 1024 are not for this user; give another --port"
        case errno.EADDRNOTAVAIL:
            return f"{where}: that is no address of this machine; give another --host"
        case _:
            return f"{where} cannot be used: {error.strerror or error}"
