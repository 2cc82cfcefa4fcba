"""`replay --serve` as a process, seen through the `websockets` client, and through a supervisor."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from ingest.records.format import PING, EventEntry, FrameEntry
from ingest.testing import RecordedFeed
from tests.support.command_line import run_command
from tests.support.records import ROOT, Command, close, connection, lost, write_record
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess, payloads_in
from tests.support.waiting import wait_until


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[Command, str]]:
    with Command(folder, "replay", "r", "--serve", "0", *options) as command:
        wait_until(lambda: "\n" in command.out or command.process.poll() is not None, 60, "the server")
        yield command, re.findall(r"listening on (\S+)", command.out)[0]


def everything(client: ClientConnection) -> tuple[list[str | bytes], int | None]:
    """Return all that comes, and the code with which it ends; None for a cut."""
    found: list[str | bytes] = []
    try:
        while True:
            found.append(client.recv(timeout=20))
    except ConnectionClosed as closed:
        return found, closed.rcvd.code if closed.rcvd is not None else None


def a_record(folder: Path) -> Path:
    status = {"reason": "HandshakeRejected", "status": 503, "retry_after": 2}
    refused = [EventEntry(9000, "connecting"), EventEntry(9000, "failed", status)]
    unreached = [EventEntry(9500, "connecting"), EventEntry(9500, "failed", {"reason": "DialFailed"})]
    cut = [FrameEntry(12_000, 2, b"\x00\x01"), FrameEntry(12_000, PING, b"p"), lost(13_000, "ConnectionDropped")]
    entries = [
        *connection(0, ["a", "b"], subscribes=["s1", "s2"], end=[close(3000, 1012, "restart"), lost(3000, "ClosedByServer")]),
        *refused,
        *unreached,
        *connection(10_000, ["c"], end=cut),
        *connection(20_000, ["d"]),
    ]
    return write_record(folder / "r", entries)


def test_every_connection_ends_as_recorded(tmp_path: Path) -> None:
    a_record(tmp_path)
    with served(tmp_path, "--at-once") as (command, url):
        with connect(url) as client:
            client.send("one")
            with pytest.raises(TimeoutError):  # two were sent after the upgrade
                client.recv(timeout=0.2)
            client.send("two")
            assert everything(client) == (["a", "b"], 1012)
        with pytest.raises(InvalidStatus) as refused:
            connect(url)
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "2"
        with connect(url) as client:
            assert everything(client) == (["c", b"\x00\x01"], None)
        with connect(url) as client:
            assert everything(client) == (["d"], 1000)
        assert command.wait() == 0
        assert command.out.endswith("played 4 connections, 5 frames sent\n")
        assert command.err == ""


def test_loop_begins_again_and_sigint_ends_it(tmp_path: Path) -> None:
    write_record(tmp_path / "r", connection(0, ["a"], subscribes=["s"]))
    with served(tmp_path, "--at-once", "--loop", "--wait", "none") as (command, url):
        for _ in range(3):
            with connect(url) as client:
                assert everything(client) == (["a"], 1000)
        with connect(url):
            command.interrupt()
            assert command.wait() == 0


def test_its_pace_and_a_client_that_leaves(tmp_path: Path) -> None:
    write_record(tmp_path / "r", connection(0, ["a", "b"], every_us=60_000_000))
    with served(tmp_path, "--speed", "100") as (_, url):
        began = time.monotonic()
        with connect(url) as client:
            assert everything(client) == (["a", "b"], 1000)
        assert time.monotonic() - began >= 1.1  # due after 0.6 and 1.2 s, counted from a moment after ours
    with served(tmp_path) as (command, url):
        with connect(url):
            pass
        assert command.wait() == 0  # it does not play on for nobody


def test_waits_for_every_frame(tmp_path: Path) -> None:
    asked = connection(0, ["a"], end=[FrameEntry(2000, 1, b"reply", outbound=True), FrameEntry(3000, 1, b"b")])
    write_record(tmp_path / "r", asked)
    with served(tmp_path, "--at-once", "--wait", "all") as (_, url), connect(url) as client:
        assert client.recv() == "a"
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.2)
        client.send("reply")
        assert everything(client) == (["b"], 1000)


def test_silence_is_played_as_silence(tmp_path: Path) -> None:
    write_record(tmp_path / "r", connection(0, ["a"], end=[lost(4_000_000, "PingTimedOut")]))
    with served(tmp_path) as (_, url), connect(url) as client:
        assert client.recv() == "a"
        wait_until(lambda: not client.ping().wait(0.3), 60, "a ping that nobody answers")
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=20)


def test_a_supervisor_takes_it_for_the_venue(tmp_path: Path, shared_valkey: Valkey) -> None:
    first = connection(0, ["a", "b"], subscribes=["s"], end=[close(3000, 1012), lost(3000, "ClosedByServer")])
    cut = connection(10_000, ["c"], subscribes=["s"], end=[lost(12_000, "ConnectionDropped")])
    write_record(tmp_path / "r", [*first, *cut, *connection(20_000, ["d"], subscribes=["s"])])
    with served(tmp_path, "--at-once") as (command, url):
        keys = 'actor = "handle"\nqueue = "trades"\nsubscribe = ["s"]\nretry = { initial = 0.05 }\n'
        feed = f'[feeds.trades]\nurl = "{url}"\n{keys}'
        with SupervisorProcess(tmp_path, feed, shared_valkey.url) as supervisor:
            client = shared_valkey.client()
            wait_until(lambda: client.llen("dramatiq:trades") == 4, 60, "all frames")
            assert payloads_in(client) == ["a", "b", "c", "d"]
            assert command.wait() == 0
            assert supervisor.stop() == 0


def test_the_example_gives_a_supervisor_what_it_gave_when_it_was_recorded(tmp_path: Path, shared_valkey: Valkey) -> None:
    keys = 'session = "examples.kraken:KrakenSession"\nactor = "handle"\nqueue = "trades"\nretry = { initial = 0.05 }\n'
    arguments = 'session_args = { symbols = ["BTC/USD"], channels = ["trade", "book"] }\n'
    with RecordedFeed(ROOT / "examples" / "kraken.rec.zst") as feed:
        settings = f'[feeds.kraken]\nurl = "{feed.url}"\n{keys}{arguments}'
        with SupervisorProcess(tmp_path, settings, shared_valkey.url) as supervisor:
            client = shared_valkey.client()
            wait_until(lambda: client.llen("dramatiq:trades") == len(feed.payloads), 60, "all payloads")
            assert supervisor.stop() == 0
        assert payloads_in(client) == feed.payloads
        assert len(feed.payloads) > 50


def test_a_record_that_is_not_whole(tmp_path: Path) -> None:
    write_record(tmp_path / "r", connection(0, ["a"]), ended=False)
    with served(tmp_path, "--at-once") as (command, url):
        with connect(url) as client:
            assert everything(client) == (["a"], 1000)
        assert command.wait() == 1
        assert command.err == "r: the record was cut short: it has no end; what is whole of it was played\n"


def test_a_port_in_use_and_no_websockets(tmp_path: Path) -> None:
    write_record(tmp_path / "r", connection(0, ["a"]), ended=False)  # of which nothing may be said: nothing was played
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command(tmp_path, "replay", "r", "--serve", str(port))
    assert (done.returncode, done.stderr) == (2, f"cannot listen on 127.0.0.1:{port}: Address already in use\n")
    without = "import sys; sys.modules['websockets'] = None; from ingest.service.cli import main; main()"
    done = run_command(tmp_path, "replay", "r", "--serve", "0", program=("-c", without))
    assert done.returncode == 2
    assert done.stderr == "the package websockets is not installed: pip install 'dramatiq-websocket[embedded]'\n"
