"""A recorded feed in a test: what it serves, what it expects of the client, and what a session does with its frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from ingest.connection.session import Emit, Session, Skip
from ingest.records.format import EmittedEntry, EventEntry
from ingest.testing import Record, RecordedFeed, run_record
from ingest.testing.recorded import OpenRecordedFeed
from tests.support.records import close, connection, lost, text, write_record

pytest_plugins = ["ingest.testing.pytest_plugin"]

SUBSCRIBE = '{"op":"subscribe","token":"***"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    first = connection(0, ["1", "2"], subscribes=[SUBSCRIBE], end=[close(3000, 1012, "restart"), lost(3000, "ClosedByServer")])
    refused = [EventEntry(9000, "connecting"), EventEntry(9000, "failed", {"status": 429, "retry_after": 3.0})]
    return write_record(tmp_path / "r", [*first, *refused, *connection(20_000, ["3"], subscribes=[SUBSCRIBE])])


def test_serves_what_was_recorded(recorded_feed: OpenRecordedFeed, path: Path) -> None:
    feed = recorded_feed(path, expects="exactly")
    with connect(feed.url) as client:
        client.send('{"op": "subscribe", "token": "mine"}')
        assert [client.recv(), client.recv()] == feed.frames[:2]
        with pytest.raises(ConnectionClosed, match="1012"):
            client.recv(timeout=10)
    with pytest.raises(InvalidStatus) as refused:
        connect(feed.url)
    assert (refused.value.response.status_code, refused.value.response.headers["Retry-After"]) == (429, "3")
    with connect(feed.url) as client:
        client.send(SUBSCRIBE)
        assert client.recv() == "3"
    with pytest.raises(InvalidStatus):  # there is no further connection in it
        connect(feed.url)
    assert feed.payloads == ["1", "2", "3"]
    assert len(feed.server.recordings) == 4


def test_expects_exactly_what_was_sent(path: Path) -> None:
    feed = RecordedFeed(path, expects="exactly")
    feed.__enter__()
    with connect(feed.url) as client:
        client.send('{"op":"unsubscribe","token":"x"}')
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
    with pytest.raises(AssertionError, match="as recorded"):
        feed.__exit__(None, None, None)


def test_expects_nothing(path: Path) -> None:
    with RecordedFeed(path, expects="nothing") as feed, connect(feed.url) as client:
        assert client.recv() == "1"


def test_at_its_pace(tmp_path: Path) -> None:
    slow = write_record(tmp_path / "slow", connection(0, ["a"], every_us=60_000_000))
    with RecordedFeed(slow, speed=100.0) as feed, connect(feed.url) as client:
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.1)
        assert client.recv(timeout=10) == "a"


class Summing(Session):
    def on_frame(self, payload: str | bytes) -> Emit | Skip:
        self.memory["sum"] = self.memory.get("sum", 0) + json.loads(payload)
        return Emit({"sum": self.memory["sum"]}, b"\x00")


def test_runs_a_session_over_every_connection(path: Path) -> None:
    run = run_record(Summing, path)
    assert run.payloads == [{"sum": 1}, "AA==", {"sum": 3}, "AA==", {"sum": 6}, "AA=="]
    assert [one.read for one in run.runs] == [2, 1]
    assert run_record(Session, path).payloads == Record.load(path).payloads


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"text", "this is no record of a feed"),
        ("cut", "cut short"),
        ("empty", "no recorded connection reached a server"),
    ],
)
def test_what_is_no_record(tmp_path: Path, content: Any, said: str) -> None:
    file = tmp_path / "r"
    if content == "cut":
        write_record(file, [text(0, "a")], ended=False)
    elif content == "empty":
        write_record(file, [EmittedEntry(0, ())])
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(AssertionError, match=said):
        RecordedFeed(file)
