"""The echo example as anybody would run it against the Autobahn suite's fuzzing server: by our own, with some of its cases."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from examples.echo_session import EchoSession
from ingest.testing import run_session
from tests.conformance import closing, framing, utf8
from tests.conformance.case import Case
from tests.conformance.server import play
from tests.support.command_line import ROOT
from tests.support.frames import CLOSE, TEXT, close, frame
from tests.support.raw_server import RawServer, read_request, switching
from tests.support.supervisor import SupervisorProcess

#: One that is echoed, one of 1002 and one of 1007, and a closing handshake.
NUMBERS = ("1.1.3", "2.10", "3.2", "6.4.1", "7.7.10")
CASES = [case for case in (*framing.CASES, *utf8.CASES, *closing.CASES) if case.number in NUMBERS]


@contextmanager
def fuzzing_server(cases: list[Case]) -> Iterator[tuple[int, list[str], set[str]]]:
    """Run a server with the paths of the suite's own; gives its port, what was asked and, at its end, what passed."""
    asked: list[str] = []
    passed: set[str] = set()

    def handler(connection: socket.socket) -> None:
        connection.settimeout(30)
        request = read_request(connection)
        path = request.split()[1]
        with connection.makefile("rb") as sent:
            if number := re.search(r"/runCase\?case=(\d+)&agent=tester$", path):
                case = cases[int(number[1]) - 1]
                asked.append(case.number)
                play(case, connection, sent, request)
                passed.add(case.number)
                return
            connection.sendall(switching(request))
            asked.append(path)
            if path == "/getCaseCount":
                connection.sendall(frame(TEXT, b"%d" % len(cases)))
            connection.sendall(close(1000))
            assert sent.read(2)[0] == 0x80 | CLOSE, "a count was sent back"

    with RawServer(handler) as server:
        yield server.port, asked, passed


def test_the_session_replies_and_emits_nothing() -> None:
    run = run_session(EchoSession, ["text", b"binary", ""])

    assert (run.sent, run.payloads) == (("text", b"binary", ""), ())


def test_the_supervisor_plays_every_case_and_stops(valkey_url: str, valkey_client: redis.Redis, tmp_path: Path) -> None:
    feeds = (
        (ROOT / "examples/echo_feeds.toml")
        .read_text()
        .replace("# session_args = { first = 1, last = 20 }", 'session_args = { agent = "tester" }')
    )
    with fuzzing_server(CASES) as (port, asked, passed):
        address = f"ws://127.0.0.1:{port}/"
        with SupervisorProcess(tmp_path, feeds, valkey_url, FUZZING_SERVER=address) as supervisor:
            supervisor.wait_for_log("all cases are played")
            assert supervisor.wait() == 1  # its only feed stopped by itself

    numbers = [case.number for case in CASES]
    assert asked == ["/getCaseCount", *numbers, "/updateReports?agent=tester"]
    assert passed == set(numbers)
    assert valkey_client.keys("dramatiq:none*") == []
