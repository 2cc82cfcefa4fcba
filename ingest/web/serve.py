"""Runs the page until it is told to stop. The only importer of uvicorn.

The rule: the port is taken, and what is wrong with it said, before anything else starts.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

#: Seconds for requests that are under way at the end.
LAST_REQUESTS = 2

#: Connections at once; further ones are answered 503.
MOST_CONNECTIONS = 300

logger = logging.getLogger("dramatiq_websocket")


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
        raise AddressUnusable(f"{host}:{port} cannot be used: {error.strerror or error}") from error
    return sock


def serve(app: Starlette, sock: socket.socket, end: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``end`` is called then, for streams that would never end by themselves."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=LAST_REQUESTS,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=32_768,
        ws="none",
        proxy_headers=False,
    )
    server = _Server(config, end)
    host, port = sock.getsockname()[:2]
    logger.info("web_listening", extra={"fields": {"url": f"http://{host}:{port}"}})
    print(f"listening on http://{host}:{port}", flush=True)  # noqa: T201 - for who has asked for any free port
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises what ended it once more
        server.run([sock])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, end: Callable[[], None]) -> None:
        super().__init__(config)
        self._end = end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end()
        await super().shutdown(sockets)
