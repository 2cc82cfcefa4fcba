"""The gap writer without a server: never waits, keeps the newest, tells what it loses, hands back what is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest
import redis

from ingest.broker.gaps import GapActor, GapRecord
from ingest.broker.hooks import EnqueueHooks
from ingest.broker.keys import Keys
from ingest.errors import EnqueueVetoed
from ingest.events import Event, HandlerFailed, SinkOverloaded
from ingest.service.gap_writer import GapWriter
from tests.support.gaps import make_gap, make_record
from tests.support.waiting import wait_until


class FakeRedis:
    """Runs the script as ``answer`` says; notes the last seq of every record that it was sent."""

    def __init__(self, answer: Callable[[GapRecord], int]) -> None:
        self.answer = answer
        self.sent: list[int] = []
        self.messages: list[bytes] = []

    def execute_command(self, *arguments: Any) -> int:
        keys = int(arguments[2])
        record = GapRecord.decode(arguments[4 + keys])
        assert record is not None
        self.sent.append(record.last_seq)
        self.messages += arguments[7 + keys :]
        return self.answer(record)


class Away:
    """Redis is away until ``back`` is set."""

    def __init__(self) -> None:
        self.back = threading.Event()

    def __call__(self, record: GapRecord) -> int:
        if not self.back.is_set():
            raise redis.ConnectionError("away")
        return 1


def make_writer(
    client: FakeRedis, events: list[Event], hooks: EnqueueHooks | None = None, *, told: bool = False, **options: Any
) -> GapWriter:
    hooks = hooks or EnqueueHooks(None, None)
    writer = GapWriter(
        cast(redis.Redis, client),
        Keys("ns"),
        "",
        hooks,
        events.append,
        uniform=options.pop("uniform", lambda low, high: 0.01),
        **options,
    )
    writer.use("trades", hooks, GapActor("fill_gap", "trades") if told else None)
    return writer


@pytest.fixture
def events() -> list[Event]:
    return []


def test_what_is_put_before_the_start_and_after_it_is_written_in_order(events: list[Event]) -> None:
    client = FakeRedis(lambda record: 1)
    writer = make_writer(client, events)
    writer.put(make_gap(1))
    writer.start()
    writer.put(make_gap(2))
    writer.put_record(make_record(3))
    assert writer.close(10) == []
    assert (client.sent, writer.written, writer.lost) == ([1, 2, 3], 3, 0)


def test_an_outage_is_waited_for_with_growing_pauses(events: list[Event]) -> None:
    away, pauses = Away(), list[float]()

    def uniform(low: float, high: float) -> float:
        pauses.append(high)
        if len(pauses) == 4:
            away.back.set()
        return 0.0

    client = FakeRedis(away)
    writer = make_writer(client, events, uniform=uniform)
    writer.start()
    writer.put(make_gap(1))
    writer.put(make_gap(2))
    wait_until(lambda: writer.written == 2, 10, "both to be written")
    assert pauses == [0.05, 0.1, 0.2, 0.4]
    assert client.sent == [1, 1, 1, 1, 1, 2]
    assert writer.close(1) == []
    assert events == []


def test_where_too_many_wait_the_oldest_go_and_each_episode_is_told_once(events: list[Event]) -> None:
    away = Away()
    writer = make_writer(FakeRedis(away), events, capacity=3)
    for number in range(5):
        writer.put(make_gap(number))
    assert (writer.lost, events) == (2, [SinkOverloaded(telemetry_id="trades-eu", at=events[0].at, sink="gaps")])
    away.back.set()
    writer.start()
    wait_until(lambda: writer.written == 3, 10, "the newest to be written")
    away.back.clear()
    for number in range(5, 10):
        writer.put(make_gap(number))
    assert len(events) == 2
    assert [record.last_seq for record in writer.close(0)] == [7, 8, 9]


def test_put_does_not_wait_for_redis(events: list[Event]) -> None:
    entered, release = threading.Event(), threading.Event()

    def stalled(record: GapRecord) -> int:
        entered.set()
        release.wait(30)
        return 1

    writer = make_writer(FakeRedis(stalled), events)
    writer.start()
    writer.put(make_gap(1))
    assert entered.wait(10)
    started = time.monotonic()
    writer.put(make_gap(2))
    left = writer.close(0.05)
    assert time.monotonic() - started < 5
    assert [record.last_seq for record in left] == [1, 2]
    release.set()


def test_the_end_cuts_a_pause_short_and_tries_once_more(events: list[Event]) -> None:
    away, paused = Away(), threading.Event()

    def uniform(low: float, high: float) -> float:
        paused.set()
        return 3600.0

    writer = make_writer(FakeRedis(away), events, uniform=uniform)
    writer.start()
    writer.put(make_gap(1))
    assert paused.wait(10)
    away.back.set()
    assert writer.close(10) == []
    assert writer.written == 1


def test_what_cannot_be_written_in_time_is_handed_back_and_the_thread_ends(events: list[Event]) -> None:
    client = FakeRedis(Away())
    writer = make_writer(client, events)
    writer.start()
    writer.put(make_gap(1, detail="wss://user:hunter2@stream.test said no"))
    [left] = writer.close(0.2)
    assert (left.last_seq, left.feed) == (1, "trades")
    assert "hunter2" not in left.detail
    assert "said no" in left.detail
    wait_until(lambda: "gaps" not in {thread.name for thread in threading.enumerate()}, 10, "the thread to end")


def test_since_when_a_feeds_gaps_wait_is_known_until_they_are_written(events: list[Event]) -> None:
    away = Away()
    writer = make_writer(FakeRedis(away), events)
    for since in (0, 1_790_000_000_000_007, 1_790_000_000_000_005):  # of the first nobody knows since when
        writer.put(make_gap(1, from_us=since))
    assert (writer.since_us("trades"), writer.since_us("quotes")) == (1_790_000_000_000_005, None)
    writer.start()
    away.back.set()
    wait_until(lambda: writer.since_us("trades") is None, 10, "the gaps to be written")
    assert writer.close(5) == []


def test_without_a_start_everything_is_handed_back(events: list[Event]) -> None:
    writer = make_writer(FakeRedis(lambda record: 1), events)
    writer.put(make_gap(1))
    assert [record.last_seq for record in writer.close(0)] == [1]


def test_one_key_that_redis_refuses_does_not_hold_up_the_others(events: list[Event], caplog: pytest.LogCaptureFixture) -> None:
    def answer(record: GapRecord) -> int:
        if record.feed == "trades":
            raise redis.ResponseError("WRONGTYPE Operation against a key")
        return 1

    client = FakeRedis(answer)
    writer = make_writer(client, events)
    writer.put(make_gap(1))
    writer.put(make_gap(2))
    writer.put(make_gap(3, feed="book"))
    writer.start()
    wait_until(lambda: writer.written == 1, 10, "the other feed's gap")
    assert sorted(record.last_seq for record in writer.close(0)) == [1, 2]
    assert [record.message for record in caplog.records].count("gap_not_recorded") >= 1
    assert client.sent.count(3) == 1


def test_middleware_sees_a_message_once_and_its_end_when_it_is_new(events: list[Event]) -> None:
    before, after = list[bytes](), list[bytes]()
    answers = iter([redis.ConnectionError("lost"), 1, 0])

    def answer(record: GapRecord) -> int:
        value = next(answers)
        if isinstance(value, Exception):
            raise value
        return cast(int, value)

    def note(data: bytes) -> bytes:
        before.append(data)
        return data + b" "

    client = FakeRedis(answer)
    writer = make_writer(client, events, EnqueueHooks(note, after.append), told=True)
    writer.start()
    writer.put(make_gap(1))
    writer.put(make_gap(1))  # known: nothing was enqueued
    assert writer.close(10) == []
    assert len(before) == 2
    assert after == [before[0] + b" "]


def test_a_message_that_cannot_be_made_does_not_cost_the_record(events: list[Event]) -> None:
    def veto(data: bytes) -> bytes:
        raise EnqueueVetoed("quota")

    client = FakeRedis(lambda record: 1)
    writer = make_writer(client, events, EnqueueHooks(veto, None), told=True)
    writer.start()
    writer.put(make_gap(1))
    assert writer.close(10) == []
    assert (client.sent, client.messages) == ([1], [])
    [told] = events
    assert isinstance(told, HandlerFailed)
    assert (told.telemetry_id, told.where, type(told.cause)) == ("trades-eu", "gap_actor", EnqueueVetoed)


def test_middleware_that_raises_afterwards_is_told_and_the_next_gap_is_written(events: list[Event]) -> None:
    def clumsy(data: bytes) -> None:
        raise ZeroDivisionError

    client = FakeRedis(lambda record: 1)
    writer = make_writer(client, events, EnqueueHooks(None, clumsy), told=True)
    writer.start()
    writer.put(make_gap(1))
    writer.put(make_gap(2))
    assert writer.close(10) == []
    assert client.sent == [1, 2]
    assert [event.where for event in events if isinstance(event, HandlerFailed)] == ["after_enqueue"] * 2
