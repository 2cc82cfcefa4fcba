"""A record as connections to read from: batches, boundaries, the beginning, and the time."""

from __future__ import annotations

import pytest

from ingest.connection.frames import Close, Ping
from ingest.connection.wakeup import Wakeup
from ingest.errors import ConnectionDropped
from ingest.records.format import PING, Entry, FrameEntry
from ingest.tools.replay.source import Pacer, ReplayTransport, Source
from tests.support.records import close, connection, text


def source(entries: list[Entry], first: int = 1, speed: float | None = None, now: list[float] | None = None) -> Source:
    return Source(entries, Pacer(speed, clock=lambda: (now or [0.0])[0]), first)


def batches(of: Source) -> list[list[object]]:
    found: list[list[object]] = []
    while (batch := of.peek()) is not None:
        of.take(batch)
        found.append(list(batch.items))
    return found


def test_what_came_in_one_read_comes_in_one_again() -> None:
    end = [text(9000, "b"), FrameEntry(9000, PING, b"p"), text(9000, "c"), text(9001, "d"), close(9001, 1012, "x")]
    of = source([*connection(0, ["a"], end=end), *connection(10_000, ["e"])])
    assert of.next_connection()
    assert batches(of) == [["a"], ["b", Ping(b"p"), "c"], ["d", Close(1012, "x")]]
    assert of.next_connection()
    assert batches(of) == [["e"]]
    assert not of.next_connection()
    assert (of.given, of.skipped) == (5, 0)


def test_what_a_session_does_not_read_is_counted() -> None:
    of = source([*connection(0, ["a", "b", "c"]), *connection(10_000, ["d"])])
    assert of.next_connection()
    batch = of.peek()
    assert batch is not None
    of.take(batch)
    assert of.next_connection()
    assert (of.given, of.skipped) == (3, 2)


def test_a_batch_never_lies_across_the_beginning() -> None:
    of = source([*connection(0, [], end=[text(1, name) for name in "abcde"])], first=3)
    assert of.next_connection()
    muted = []
    while (batch := of.peek()) is not None:
        of.take(batch)
        muted.append((list(batch.items), of.is_muted()))
    assert muted == [(["a", "b"], True), (["c", "d", "e"], False)]


def test_time_begins_with_the_first_frame_that_counts() -> None:
    now = [100.0]
    of = source(connection(0, ["a", "b", "c"], every_us=1_000_000), first=2, speed=2.0, now=now)
    assert of.next_connection()
    due = []
    while (batch := of.peek()) is not None:
        due.append(of.seconds_until(batch))
        of.take(batch)
    assert due == [0.0, 0.0, 0.5]


def test_the_transport_waits_for_the_time_and_ends_with_the_connection() -> None:
    now, reads = [0.0], [0]
    of = source(connection(0, ["a", "b"], every_us=1_000_000), speed=1.0, now=now)
    wakeup = Wakeup()
    assert of.next_connection()

    def count() -> None:
        reads[0] += 1

    transport = ReplayTransport(of, wakeup, count)
    assert transport.receive(None) == ["a"]
    assert transport.receive(0.0) == []
    wakeup.set()
    assert transport.receive(None) == []
    wakeup.set()
    assert transport.receive(None, read=False) == []
    now[0] = 1.0
    assert transport.receive(None) == ["b"]
    with pytest.raises(ConnectionDropped):
        transport.receive(None)
    assert reads == [6]
    wakeup.close()
