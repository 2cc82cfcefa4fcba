"""``check --connect`` against a real Valkey and scripted servers: what answers, what does not, and the exit codes."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.service.check import check, make_console, try_connections
from ingest.testing import ScriptedServer
from tests.support.command_line import run_command
from tests.support.raw_server import RawServer
from tests.support.redis_server import Valkey, running_valkey
from tests.support.settings_files import load_text

FEED = '[feeds.{name}]\nurl = "{url}"\nactor = "handle"\nopen_timeout = 30\n'


def connect(folder: Path, redis_url: str, *feeds: str, more: str = "") -> tuple[int, list[str]]:
    """Try these feeds; return the exit code and what was printed."""
    text = "".join(FEED.format(name=f"f{at}", url=url) + more for at, url in enumerate(feeds))
    settings = load_text(folder, text, {"REDIS_URL": redis_url})
    out = io.StringIO()
    code = try_connections(settings, check(settings), make_console(out))
    return code, out.getvalue().splitlines()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens, and nobody else can meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def test_everything_answers(tmp_path, shared_valkey: Valkey):
    with ScriptedServer() as server:
        code, lines = connect(tmp_path, shared_valkey.url, server.url, server.url)
        server.wait_for_connections(2)
    assert code == 0
    assert lines[0].startswith("broker: ok, Valkey ")
    assert [line.partition(" in ")[0] for line in lines[1:]] == ["feeds.f0: ok, handshake", "feeds.f1: ok, handshake"]


def test_a_feed_that_is_refused_is_told_and_the_others_are_tried(tmp_path, shared_valkey: Valkey, closed_port: int):
    with ScriptedServer(lambda c: c.refuse(401)) as refusing, ScriptedServer() as server:
        closed = f"ws://u:hunter2@127.0.0.1:{closed_port}/?token=hunter2"
        code, lines = connect(tmp_path, shared_valkey.url, refusing.url, closed, server.url)
    assert code == 1
    assert lines[1] == "feeds.f0: FAILED: the server answered the upgrade with status 401"
    assert lines[2].startswith("feeds.f1: FAILED: tcp failed: ")
    assert lines[3].startswith("feeds.f2: ok")
    assert "hunter2" not in str(lines)


def test_the_session_says_url_and_headers_of_the_attempt(tmp_path, shared_valkey: Valkey, user_module):
    user_module(
        "shopsession",
        """
        from ingest.connection.session import Session

        class Feed(Session):
            def setup(self, *, token): self.token = token
            def headers(self): return {"X-Token": self.token}

        class Broken(Session):
            def headers(self): raise RuntimeError("no token today")
        """,
    )
    with ScriptedServer() as server:
        good, _ = connect(
            tmp_path, shared_valkey.url, server.url, more='session = "shopsession:Feed"\nsession_args = { token = "t" }\n'
        )
        assert server.recordings[0].headers["x-token"] == "t"
        bad, lines = connect(tmp_path, shared_valkey.url, server.url, more='session = "shopsession:Broken"\n')
    assert (good, bad) == (0, 1)
    assert lines[1] == "feeds.f0: FAILED: headers failed: RuntimeError: no token today"


def old(connection: socket.socket) -> None:
    while connection.recv(65536):
        info = b"redis_version:6.0.16\r\n"
        connection.sendall(b"$%d\r\n%b\r\n" % (len(info), info))


def test_redis_that_is_of_no_use_is_told_and_ends_with_2(tmp_path, valkey: Valkey, closed_port: int):
    valkey.client().config_set("requirepass", "right")
    with ScriptedServer() as server, RawServer(old) as too_old:
        tried = {
            f"redis://:hunter2@127.0.0.1:{closed_port}/0": "Redis is unreachable: ",
            valkey.url + "?password=hunter2": "Redis refused the user or password (WRONGPASS)",
            valkey.url: "Redis refused the user or password (NOAUTH)",
            f"redis://127.0.0.1:{too_old.port}/0": "Redis 6.0.16 is too old: 6.2 or newer is needed",
        }
        for url, says in tried.items():
            code, [broker, feed] = connect(tmp_path, url, server.url)
            assert code == 2
            assert broker.startswith(f"broker: FAILED: {says}")
            assert feed.startswith("feeds.f0: ok")
            assert "hunter2" not in broker


def test_a_full_queue_that_redis_could_not_hold(tmp_path):
    with running_valkey(maxmemory="20mb", maxmemory_policy="allkeys-lru") as small, ScriptedServer() as server:
        code, lines = connect(tmp_path, small.url, server.url)
    assert code == 0
    assert lines[1].startswith("warning: Redis evicts keys when it is full (maxmemory-policy allkeys-lru)")
    assert lines[2].startswith("warning: queue default: full, at 20000 messages, it would take about 29 MiB")


@pytest.mark.parametrize(("status", "code"), [(None, 0), (503, 1)])
def test_the_command_and_its_exit_code(tmp_path, shared_valkey: Valkey, status, code):
    with ScriptedServer(*([lambda c: c.refuse(status)] if status else [])) as server:
        (tmp_path / "feeds.toml").write_text(FEED.format(name="trades", url=server.url))
        done = run_command(tmp_path, "check", "--connect", REDIS_URL=shared_valkey.url)
    assert (done.returncode, done.stderr) == (code, "")
    assert "broker: ok" in done.stdout
    assert ("status 503" in done.stdout) is (status == 503)


def test_run_without_redis_ends_with_2_and_a_sentence(tmp_path, closed_port: int):
    (tmp_path / "feeds.toml").write_text(FEED.format(name="trades", url="ws://127.0.0.1:1"))
    done = run_command(tmp_path, "run", REDIS_URL=f"redis://:hunter2@127.0.0.1:{closed_port}/0")
    assert done.returncode == 2
    assert "broker.url: Redis is unreachable" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
