"""Feeds that wait for acknowledgements, over real connections: nothing is acknowledged that is not safe, nothing is missed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from ingest.connection.session import Emit, Session, Skip
from ingest.delivery.intake import Intake
from ingest.errors import PayloadDropped
from ingest.events import ConnectionLost, GapFound
from ingest.testing import ScriptedConnection, ScriptedServer
from settings.wire import new_producer
from tests.support.backlogs import KeptBacklog
from tests.support.connections import CollectingSink
from tests.support.delivery import Pipeline, payloads, publishing
from tests.support.feeds import RunningFeed
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until


class Slack(Session):
    """Every envelope is acknowledged by its own id, as in Slack's socket mode; what is not comes again."""

    def on_frame(self, payload):
        envelope = json.loads(payload)
        if envelope["type"] == "hello":
            return Skip()
        return Emit(envelope["payload"], ack=[json.dumps({"envelope_id": envelope["envelope_id"]})])


def envelope(number: int) -> dict[str, object]:
    return {"type": "events_api", "envelope_id": f"e-{number}", "payload": number}


def acknowledged(number: int) -> dict[str, str]:
    return {"envelope_id": f"e-{number}"}


class Cumulative(Session):
    """The last number of every ten is acknowledged, which stands for all before it; goes on after what was acknowledged."""

    def on_frame(self, payload):
        number = int(payload)
        return Emit(number, ack=[str(number)] if number % 10 == 0 else ())


@contextmanager
def settling(sink: CollectingSink, *, every: float, most: int) -> Iterator[None]:
    """Let what is delivered become safe in another thread, a bit at a time."""
    over = threading.Event()

    def settle() -> None:
        while not over.wait(every):
            sink.settle(min(sink.settled + most, sink.emitted))

    thread = threading.Thread(target=settle, name="settle")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_each_envelope_is_acknowledged_when_it_is_safe_and_the_rest_comes_again():
    sink = CollectingSink()

    def first(client: ScriptedConnection) -> None:
        client.send({"type": "hello"}, envelope(1), envelope(2), envelope(3))
        wait_until(lambda: sink.payloads == [1, 2, 3], 10, "three payloads")
        client.listen(0.2)
        assert client.recording.texts == [], "acknowledged before it was safe"
        sink.settle(2)
        client.expect(acknowledged(1))
        client.expect(acknowledged(2))
        client.listen(0.2)
        client.cut()

    def second(client: ScriptedConnection) -> None:
        sink.settle(3)  # too late for the connection that brought it
        client.send(envelope(3), envelope(4))
        wait_until(lambda: len(sink.payloads) == 5, 10, "two more")
        client.listen(0.2)
        sink.settle(5)
        client.expect(acknowledged(3))
        client.expect(acknowledged(4))

    with ScriptedServer(first, second) as server, RunningFeed(server.url, Slack, sink=sink) as feed:
        server.wait_until(lambda: len(server.recordings) == 2 and len(server.recordings[1].texts) == 2, "the last ack")
    assert sink.payloads == [1, 2, 3, 3, 4]
    assert server.recordings[0].texts == [json.dumps(acknowledged(1)), json.dumps(acknowledged(2))]
    assert [(gap.cause, gap.last_seq) for gap in feed.of(GapFound)] == [("disconnected", 3)]


def test_cumulative_acks_with_a_server_that_cuts_and_goes_on_after_the_last_one():
    sink, last, unsafe, acked = CollectingSink(), 5000, [], [0]

    def take(client: ScriptedConnection, until: int) -> None:
        while acked[0] < until:
            number = int(client.expect())
            if number not in sink.payloads[: sink.settled]:
                unsafe.append(number)
            acked[0] = number

    def cutting(client: ScriptedConnection) -> None:
        client.send(*(str(number) for number in range(acked[0] + 1, min(acked[0] + 2001, last + 1))))
        take(client, min(acked[0] + 700, last))
        client.cut()

    def whole(client: ScriptedConnection) -> None:
        client.send(*(str(number) for number in range(acked[0] + 1, last + 1)))
        take(client, last)

    with (
        settling(sink, every=0.005, most=100),
        ScriptedServer(cutting, cutting, cutting, whole) as server,
        RunningFeed(server.url, Cumulative, sink=sink) as feed,
    ):
        feed.wait_for(lambda: acked[0] == last, "the last number to be acknowledged", timeout=60)
    assert unsafe == []
    assert set(sink.payloads) == set(range(1, last + 1))
    for recording in server.recordings:
        numbers = [int(text) for text in recording.texts]
        assert numbers == sorted(numbers)
    assert len(feed.of(GapFound)) == 3


def test_acks_leave_while_a_full_backlog_stops_the_reading():
    sink = CollectingSink()
    sink.room = lambda: len(sink.payloads) - sink.settled < 2
    sent_all = threading.Event()

    def script(client: ScriptedConnection) -> None:
        client.send(envelope(1), envelope(2))
        wait_until(lambda: len(sink.payloads) == 2, 10, "two payloads")
        client.send(envelope(3))
        sent_all.set()
        client.expect(acknowledged(1))
        client.expect(acknowledged(2), timeout=10)
        client.expect(acknowledged(3), timeout=10)

    with ScriptedServer(script) as server, RunningFeed(server.url, Slack, sink=sink, ping_interval=0) as feed:
        feed.wait_for(sent_all.is_set, "all frames on their way")
        feed.wait_for(lambda: feed.status.blocked, "reading to stop")
        sink.room = lambda: sink.settled >= 2
        sink.settle(1)  # makes no room: what wakes the feed is the ack alone
        server.wait_until(lambda: len(server.recordings[0].texts) == 1, "the ack of the first")
        assert feed.status.blocked
        sink.settle(2)
        feed.wait_for(lambda: len(sink.payloads) == 3, "the third payload")
        sink.settle(3)
        server.wait_until(lambda: len(server.recordings[0].texts) == 3, "all acks")
    assert len(server.recordings) == 1


def test_a_dropped_payload_is_asked_for_again_by_a_new_connection():
    sink = CollectingSink()

    def first(client: ScriptedConnection) -> None:
        client.send(envelope(1), envelope(2))
        wait_until(lambda: sink.emitted == 2, 10, "both payloads")
        sink.drop(2)
        client.listen(0.2)
        sink.settle(1)
        client.expect(acknowledged(1))
        client.wait_for_close()

    def second(client: ScriptedConnection) -> None:
        client.send(envelope(2))
        wait_until(lambda: sink.emitted == 3, 10, "the second again")
        sink.settle(3)
        client.expect(acknowledged(2))

    with ScriptedServer(first, second) as server, RunningFeed(server.url, Slack, sink=sink) as feed:
        server.wait_until(lambda: len(server.recordings) == 2 and server.recordings[1].texts, "the ack of the second")
    assert feed.of(ConnectionLost)[0].reason == PayloadDropped(1)
    assert sink.payloads == [1, 2, 2]


def test_a_stop_acknowledges_what_is_safe_and_nothing_else():
    sink = CollectingSink()

    def script(client: ScriptedConnection) -> None:
        client.send(envelope(1), envelope(2))
        client.wait_for_close(1001)

    with ScriptedServer(script) as server, RunningFeed(server.url, Slack, sink=sink) as feed:
        feed.wait_for(lambda: sink.emitted == 2, "both payloads")
        sink.settled = 1  # without a word: the stop itself must look
        feed.stop()
        server.wait_until(lambda: server.recordings[0].left, "the end")
    assert server.recordings[0].texts == [json.dumps(acknowledged(1))]


def sink_of(pipeline: Pipeline, wake: Callable[[], None]) -> Intake:
    """Return the intake of a pipeline that tells a feed when something is safe."""
    pipeline.backlog.on_room = wake
    return pipeline.intake


@pytest.mark.parametrize("count", [1, 3000])
def test_with_a_real_redis_what_is_acknowledged_is_in_the_queue(shared_valkey: Valkey, count: int):
    client: redis.Redis = shared_valkey.client()
    missing: list[int] = []

    def script(connection: ScriptedConnection) -> None:
        connection.send(*(envelope(number) for number in range(1, count + 1)))
        for number in range(1, count + 1):
            connection.expect(acknowledged(number))
            if client.llen("dramatiq:trades") < number:
                missing.append(number)

    with ScriptedServer(script) as server, publishing(shared_valkey.url) as pipeline:
        feed: RunningFeed
        sink = sink_of(pipeline, wake=lambda: feed.wake())
        with RunningFeed(server.url, Slack, sink=sink, ping_interval=0) as feed:
            server.wait_until(lambda: server.recordings and len(server.recordings[0].texts) == count, "all acks", timeout=90)
    assert missing == []
    assert payloads(client) == list(range(1, count + 1))


def test_while_redis_stands_still_nothing_is_acknowledged(shared_valkey: Valkey):
    with publishing(shared_valkey.url) as pipeline:
        feed: RunningFeed
        sink = sink_of(pipeline, wake=lambda: feed.wake())
        stalled, heard = threading.Event(), []

        def script(connection: ScriptedConnection) -> None:
            connection.send(envelope(1))
            connection.expect(acknowledged(1))
            assert stalled.wait(60)
            connection.send(envelope(2))
            connection.listen(1.0)
            heard.extend(connection.recording.texts[1:])
            stalled.clear()
            connection.expect(acknowledged(2), timeout=60)

        with ScriptedServer(script) as server, RunningFeed(server.url, Slack, sink=sink, ping_interval=0) as feed:
            server.wait_until(lambda: server.recordings and len(server.recordings[0].texts) == 1, "the first ack")
            with shared_valkey.stalled():
                stalled.set()
                feed.wait_for(lambda: not stalled.is_set(), "a second without an ack")
            server.wait_until(lambda: len(server.recordings[0].texts) == 2, "the second ack", timeout=60)
    assert heard == []


def test_on_a_disk_that_outlives_the_process_it_is_acknowledged_while_redis_stands_still(shared_valkey: Valkey, tmp_path: Path):
    kept = KeptBacklog(tmp_path, messages=100, write_ahead=True, producer=new_producer())

    def script(connection: ScriptedConnection) -> None:
        for number in range(1, 301):
            connection.send(envelope(number))
        for number in range(1, 301):
            connection.expect(acknowledged(number), timeout=60)

    with publishing(shared_valkey.url, backlog=kept.backlog, chain=kept.chain) as pipeline:
        feed: RunningFeed
        sink = sink_of(pipeline, wake=lambda: feed.wake())
        with (
            ScriptedServer(script) as server,
            shared_valkey.stalled(),
            RunningFeed(server.url, Slack, sink=sink, ping_interval=0) as feed,
        ):
            server.wait_until(lambda: server.recordings and len(server.recordings[0].texts) == 300, "all acks", timeout=90)
            assert sum(one.messages for one in kept.spool.producers()) == 300
        pipeline.emptied()
    assert payloads(shared_valkey.client()) == list(range(1, 301))
