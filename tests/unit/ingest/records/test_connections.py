"""A record as its connections: which there are, and what a server does to play each."""

from __future__ import annotations

import pytest

from ingest.records.connections import Await, Close, Cut, Finish, Linger, Send, Step, close_of, steps_of, survey
from ingest.records.format import CLOSE, PING, PONG, EndEntry, EventEntry, FrameEntry
from tests.support.records import close, connection, lost, text


def test_steps_of_a_connection() -> None:
    extra = [
        FrameEntry(7000, PING, b"p"),
        FrameEntry(7000, PONG, b"q"),
        FrameEntry(7100, PING, b"ours", outbound=True),
        text(7200, "beat", outbound=True),
        close(8000, 1012, "bye"),
        text(9000, "never"),
    ]
    entries = connection(5000, ["a"], subscribes=["s"], end=extra)
    assert list(steps_of(entries, 0)) == [
        Await(0, text(5000, "s", outbound=True), subscribes=True),
        Send(1000, text(6000, "a")),
        Send(2000, FrameEntry(7000, PING, b"p")),
        Await(2200, text(7200, "beat", outbound=True), subscribes=False),
        Close(3000, 1012, "bye"),
    ]


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("ConnectionDropped", Cut(50)),
        ("ProtocolViolated", Cut(50)),
        ("PingTimedOut", Cut(50, silent=True)),
        ("SessionFailed", Linger(50)),
        ("Stopped", Finish(50)),
    ],
)
def test_how_a_connection_ends(reason: str, step: Step) -> None:
    assert list(steps_of(connection(0, [], end=[lost(50, reason), text(60, "never")]), 0)) == [step]


def test_only_those_that_reached_a_server_count() -> None:
    refused = [EventEntry(1, "connecting"), EventEntry(1, "failed", {"status": 503, "retry_after": 2})]
    unreached = [EventEntry(2, "connecting"), EventEntry(2, "failed", {"reason": "DialFailed"})]
    entries = [*refused, *unreached, *connection(10, ["a"]), *unreached, *connection(20, ["b", "c"]), EndEntry(5000)]
    found = survey(entries)
    assert (found.attempts, found.received, found.emitted, found.last_us) == (5, 3, 3, 5000)
    assert [(each.status, each.retry_after, each.received) for each in found.connections] == [
        (503, 2, 0),
        (None, None, 1),
        (None, None, 2),
    ]
    assert [step.entry.message for step in steps_of(entries, 1) if isinstance(step, Send)] == ["a"]
    assert [step.entry.message for step in steps_of(entries, 2) if isinstance(step, Send)] == ["b", "c"]
    assert list(steps_of(entries, 7)) == [Finish(0)]


def test_a_close_that_counts_as_failure_of_its_own_connection_only() -> None:
    failed = [EventEntry(5, "failed", {"reason": "ReadyTimedOut", "status": 200})]
    assert [each.status for each in survey(connection(0, ["a"], end=failed)).connections] == [None]


def test_close_frames() -> None:
    assert close_of(FrameEntry(0, CLOSE, b"").payload) == (1005, "")
    assert close_of(close(0, 4000, "é").payload) == (4000, "é")
