from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.broker.clients import make_client
from ingest.tools.dev import embedded
from ingest.tools.dev.embedded import Embedded, free_port, prepare, short_directory
from ingest.tools.dev.readings import Left, Readings
from settings.model import BrokerSettings
from tests.support.waiting import wait_until


@pytest.fixture(params=[False, True], ids=["unix", "tcp"])
def server(request: pytest.FixtureRequest) -> Iterator[Embedded]:
    server = prepare(tcp=request.param)
    server.make_directory()
    process = subprocess.Popen(shlex.split(server.command()))
    yield server
    process.terminate()
    process.wait()
    shutil.rmtree(server.directory)


def readings_of(server: Embedded, owns: bool = True) -> Readings:
    return Readings(BrokerSettings.model_validate({"url": server.url}), lambda pid: owns)


def test_the_command_starts_a_server_that_keeps_nothing_and_is_for_this_machine_only(server: Embedded) -> None:
    readings = readings_of(server)
    wait_until(readings.answers, 10.0, "the server")
    readings.close()
    client = make_client(server.url)
    assert client.config_get("save") == {"save": ""}
    assert client.config_get("appendonly") == {"appendonly": "no"}
    assert client.config_get("bind") == {"bind": "127.0.0.1"}
    assert client.config_get("port") == {"port": str(server.port)}, "a server on a socket has no port"
    client.close()
    assert "Ready to accept connections" in server.last_words(100)


def test_what_is_left_is_counted_in_dramatiqs_own_keys(server: Embedded) -> None:
    readings = readings_of(server)
    wait_until(readings.answers, 10.0, "the server")
    client = make_client(server.url)
    client.hset("dramatiq:q.msgs", mapping={"1": "x", "2": "x", "3": "x"})  # two ready and one that a worker holds
    client.rpush("dramatiq:q", "1", "2")
    client.hset("dramatiq:r.DQ.msgs", "4", "x")
    client.zadd("dramatiq:q.XQ", {"5": 1.0})
    client.close()
    left = readings.left(["q", "r"])
    assert left == Left(waiting=3, delayed=1, dead=1)
    assert left.total == 5
    assert readings.left([]) == Left()
    readings.close()


def test_a_server_that_is_not_there_costs_a_reading_only(tmp_path: Path) -> None:
    readings = readings_of(Embedded(tmp_path))
    assert not readings.answers()
    assert readings.snapshots() == []
    assert readings.left(["q"]) is None
    readings.close()
    assert Embedded(tmp_path).last_words() == ""


def test_the_directory_is_private_nobody_elses_and_short_enough_for_a_socket() -> None:
    server = prepare(tcp=False)
    server.make_directory()
    assert server.directory.stat().st_mode & 0o777 == 0o700
    assert len(str(server.socket)) < 60
    with pytest.raises(FileExistsError):
        server.make_directory()
    server.directory.rmdir()


def test_a_temporary_directory_that_is_too_long_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "Path", lambda text: Path("/no such") if text == "/tmp" else Path(text))
    monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: "/" + "d" * 100)
    with pytest.raises(OSError, match="too long for a socket"):
        short_directory()


def test_two_who_ask_at_once_get_different_ports() -> None:
    assert len({free_port() for _ in range(20)}) > 1
