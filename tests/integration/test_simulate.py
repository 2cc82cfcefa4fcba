"""The simulated exchange as a process of its own, seen through the `websockets` client and bare sockets."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.kraken import Replica, request
from tests.support.waiting import wait_until

START = "import sys; from ingest.tools.simulate import run_simulation; sys.exit(run_simulation(**eval(sys.argv[1])))"


class Exchange:
    """A running simulation."""

    def __init__(self, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", START, repr({"port": 0, **options})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        self.url = self.first_line.removeprefix("listening on ").strip()

    def end(self, number: int | None = signal.SIGTERM) -> tuple[int, str, str]:
        """Ask it to end (None: it was asked before); return its exit code, the rest of its output, and its errors."""
        if number is not None:
            self.process.send_signal(number)
        try:
            out, err = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
        return self.process.returncode, out, err


@contextlib.contextmanager
def exchange(**options: Any) -> Iterator[Exchange]:
    """Start one, and see that it ends in order and had nothing to complain about."""
    running = Exchange(**options)
    try:
        yield running
    finally:
        ended = running.end()
    assert ended == (0, "", "")


def dial(url: str, **options: Any) -> ClientConnection:
    return connect(url, proxy=None, **options)


def messages(client: ClientConnection) -> Iterator[dict[str, Any]]:
    while True:
        yield json.loads(client.recv(timeout=10))


def await_message(client: ClientConnection, **wanted: Any) -> dict[str, Any]:
    """Return the next message that has these fields."""
    return next(message for message in islice(messages(client), 10_000) if wanted.items() <= message.items())


def test_one_line_then_a_status_for_every_client():
    with exchange(rate=0) as venue:
        assert venue.first_line.startswith("listening on ws://127.0.0.1:")
        assert venue.first_line.endswith("/v2\n")
        seen = []
        for _ in range(2):
            with dial(venue.url) as client:
                status = json.loads(client.recv(timeout=10))
                assert (status["channel"], status["data"][0]["system"]) == ("status", "online")
                seen.append(status["data"][0]["connection_id"])
        assert seen[0] != seen[1]


def test_books_and_trades_hold_together():
    with exchange(rate=2000, symbols=["BTC/USD", "ETH/USD"]) as venue, dial(venue.url) as client:
        client.send(request("subscribe", "book", ["BTC/USD", "ETH/USD"], depth=10))
        client.send(request("subscribe", "trade", ["BTC/USD", "ETH/USD"], snapshot=True))
        replicas = {symbol: Replica(10) for symbol in ("BTC/USD", "ETH/USD")}
        kinds: dict[tuple[str, str], int] = {}
        last_trade: dict[str, int] = {}
        while kinds.get(("book", "update"), 0) < 2000 or kinds.get(("trade", "update"), 0) < 100:
            text = str(client.recv(timeout=10))
            message = json.loads(text)
            kind = (message.get("channel", ""), message.get("type", ""))
            kinds[kind] = kinds.get(kind, 0) + 1
            if kind[0] == "book":
                replicas[message["data"][0]["symbol"]].apply(text)  # which asserts the checksum
            for trade in message["data"] if kind[0] == "trade" else ():
                assert trade["trade_id"] == last_trade.get(trade["symbol"], trade["trade_id"] - 1) + 1
                last_trade[trade["symbol"]] = trade["trade_id"]
        assert kinds["book", "snapshot"] == kinds["trade", "snapshot"] == 2


def test_refusals_leave_the_connection_as_it_was():
    with exchange(rate=100, symbols=["BTC/USD"]) as venue, dial(venue.url) as client:
        client.send(request("subscribe", "trade", ["ETH/USD"]))
        assert await_message(client, success=False)["error"] == "Currency pair not supported ETH/USD"
        client.send("nonsense")
        assert await_message(client, success=False)["error"] == "Malformed request"
        client.send(request("subscribe", "book", depth=10))
        assert await_message(client, success=True)["result"]["channel"] == "book"
        assert await_message(client, channel="book", type="update")
        client.send(request("unsubscribe", "book", depth=10))
        assert await_message(client, method="unsubscribe")["success"]
        client.send('{"method":"ping","req_id":9}')
        assert json.loads(client.recv(timeout=10))["method"] == "pong"  # and no update in between


def test_the_same_seed_gives_the_same_market():
    def beginning(seed: int) -> list[Any]:
        with exchange(rate=500, seed=seed, symbols=["BTC/USD"]) as venue, dial(venue.url) as client:
            client.send(request("subscribe", "book"))
            books = (message["data"][0] for message in messages(client) if message.get("channel") == "book")
            return [(book["bids"], book["asks"], book["checksum"]) for book in islice(books, 200)]

    first = beginning(7)
    assert first == beginning(7)
    assert first != beginning(8)


def test_a_quiet_connection_gets_heartbeats_and_protocol_pings_are_answered():
    with exchange(rate=0) as venue, dial(venue.url) as client:
        started = time.monotonic()
        client.send(request("subscribe", "trade"))
        for _ in range(3):
            assert await_message(client, channel="heartbeat") == {"channel": "heartbeat"}
        assert time.monotonic() - started > 1.5, "two seconds of silence between three, however late they are read"
        assert client.ping().wait(10)


def test_who_subscribes_to_nothing_and_says_nothing_is_closed():
    with exchange(rate=1000, idle_timeout=0.3) as venue:
        with dial(venue.url) as client, pytest.raises(ConnectionClosed) as closed:
            next(message for message in messages(client) if message["channel"] != "status")
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "idle")
        with in_time(venue.url, request("subscribe", "trade")) as client:
            started = time.monotonic()
            while time.monotonic() - started < 1.0:
                client.recv(timeout=10)


@contextlib.contextmanager
def in_time(url: str, text: str, seconds: float = 20.0) -> Iterator[ClientConnection]:
    """Subscribe before an idle client is closed: on a busy machine that may take more than one attempt."""
    deadline = time.monotonic() + seconds
    while True:
        with dial(url) as client:
            try:
                client.send(text)
                await_message(client, success=True)
            except ConnectionClosed:
                assert time.monotonic() < deadline, "every connection was closed before it had subscribed"
                continue
            yield client
            return


def test_a_wrong_path_is_not_found():
    with exchange(rate=0) as venue, pytest.raises(InvalidStatus) as refusal, dial(venue.url.replace("/v2", "/v1")):
        pass
    assert refusal.value.response.status_code == 404


def test_a_high_rate_is_sustained_on_one_connection():
    """What it takes of a processor's time is compared, not what it gets: other tests share these cores."""
    with exchange(rate=20_000) as venue, bare(venue.url) as sock:
        for channel in ("book", "trade"):
            send_text(sock, request("subscribe", channel, ["BTC/USD", "ETH/USD"]))
        count_updates(sock, 10_000)  # warm up
        before = processor_seconds(venue.process.pid)
        updates = count_updates(sock, 40_000)
        assert updates / (processor_seconds(venue.process.pid) - before) > 20_000


def test_a_client_that_does_not_read_is_cut_off():
    with exchange(rate=100_000) as venue, bare(venue.url) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        send_text(sock, request("subscribe", "book", depth=1000))
        with dial(venue.url, ping_interval=None, close_timeout=0.2) as other:  # who is served all the while
            other.send(request("subscribe", "trade"))
            wait_until(lambda: is_cut(sock), 180, "the one that does not read to be cut off")
            await_message(other, channel="trade")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_on_a_signal_with_a_close_for_its_clients(number: int):
    venue = Exchange(rate=100)
    with dial(venue.url) as client:
        client.send(request("subscribe", "trade"))
        await_message(client, success=True)
        venue.process.send_signal(number)
        with pytest.raises(ConnectionClosed) as closed:
            list(messages(client))
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert venue.end(None) == (0, "", "")


def test_it_ends_with_its_standard_input_if_told():
    venue = Exchange(rate=0, exit_with_stdin=True)
    assert venue.process.stdin is not None
    venue.process.stdin.write("anything\n")
    venue.process.stdin.flush()
    with dial(venue.url) as client:
        assert client.recv(timeout=10)
    venue.process.stdin.close()
    venue.process.stdin = None
    assert venue.end(None) == (0, "", "")


def test_a_port_in_use_is_one_line_and_exit_code_2():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert Exchange(port=port).end(None) == (2, "", f"cannot listen on 127.0.0.1:{port}: Address already in use\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": -1}, "rate is -1; it must be messages per second, 0 or more\n"),
        ({"symbols": []}, "symbols is empty; name at least one, such as BTC/USD\n"),
        ({"symbols": ["btcusd"]}, "'btcusd' is no symbol; one looks like BTC/USD\n"),
        ({"idle_timeout": 0}, "idle_timeout is 0; it must be seconds, more than 0\n"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(options: dict[str, Any], said: str):
    assert Exchange(**options).end(None) == (2, "", said)


def test_a_missing_library_is_named_with_its_remedy():
    start = "import sys; sys.modules['websockets'] = None; " + START.removeprefix("import sys; ")
    done = subprocess.run([sys.executable, "-c", start, "{}"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "simulate needs the package websockets: pip install 'dramatiq-websocket[embedded]'\n"


def bare(url: str) -> socket.socket:
    """Upgrade without a library, which could not keep up with what is measured here."""
    port = int(url.removesuffix("/v2").rpartition(":")[2])
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.sendall(
        b"GET /v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert sock.recv(4096).startswith(b"HTTP/1.1 101")
    return sock


def send_text(sock: socket.socket, text: str) -> None:
    data = text.encode()
    sock.sendall(b"\x81\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data)  # a mask of zeros masks nothing


def count_updates(sock: socket.socket, least: int) -> int:
    """Read so many updates; return how many it were."""
    count = 0
    while count < least:
        data = sock.recv(1 << 20)
        assert data, "it ended"
        count += data.count(b'"type":"update"')
    return count


def processor_seconds(pid: int) -> float:
    """Return how long a process has been computing."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_cut(sock: socket.socket) -> bool:
    """Say whether the other side has reset the connection, without reading what it had sent before."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
