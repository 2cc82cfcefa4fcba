"""The gap writer over a real Valkey: outages, lost replies, and what comes back after a restart."""

from __future__ import annotations

import dramatiq
import redis

from ingest.broker.clients import make_client
from ingest.broker.gaps import GapActor, GapRecord, read_gaps
from ingest.broker.hooks import EnqueueHooks
from ingest.broker.keys import Keys
from ingest.events import Event
from ingest.service.gap_writer import GapWriter
from tests.support.delivery import queued
from tests.support.gaps import make_gap
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until

KEYS = Keys("dramatiq")


def make_writer(url: str, events: list[Event]) -> GapWriter:
    client = make_client(url, max_connections=1, connect_timeout=0.5, socket_timeout=0.5)
    writer = GapWriter(client, KEYS, "", EnqueueHooks(None, None), events.append)
    writer.use("trades", EnqueueHooks(None, None), GapActor("fill_gap", "trades"))
    return writer


def told(client: redis.Redis) -> list[int]:
    messages: list[dramatiq.Message[None]] = queued(client)
    return [message.args[0]["last_seq"] for message in messages]


def kept(client: redis.Redis) -> list[int]:
    return [record.last_seq for record in read_gaps(client, KEYS, "", ["trades"])]


def test_gaps_of_an_outage_are_written_after_it(valkey: Valkey) -> None:
    events: list[Event] = []
    writer = make_writer(valkey.url, events)
    writer.start()
    writer.put(make_gap(1))
    wait_until(lambda: writer.written == 1, 10, "the first gap")
    valkey.stop()
    writer.put(make_gap(2))
    writer.put(make_gap(3))
    valkey.start()
    wait_until(lambda: writer.written == 3, 20, "the others")
    assert writer.close(5) == []
    assert kept(valkey.client()) == [2, 3], "the server came back empty"
    assert told(valkey.client()) == [2, 3]
    assert events == []


def test_a_stalled_server_that_executes_late_is_told_once(valkey: Valkey) -> None:
    writer = make_writer(valkey.url, [])
    with valkey.stalled():
        writer.start()
        writer.put(make_gap(1))
        writer.put(make_gap(2))
        [first, second] = writer.close(1.2)  # longer than a time-out: the first call is under way
    again = make_writer(valkey.url, [])
    again.start()
    for record in (first, second):
        saved = GapRecord.decode(record.encode())  # as the spool keeps it
        assert saved is not None
        again.put_record(saved)
    assert again.close(20) == []
    assert kept(valkey.client()) == [1, 2]
    assert told(valkey.client()) == [1, 2]


def test_lost_replies_double_nothing(valkey: Valkey) -> None:
    with RedisProxy(valkey.path) as proxy:
        writer = make_writer(proxy.url, [])
        proxy.losing.set()
        writer.start()
        for number in range(5):
            writer.put(make_gap(number))
        wait_until(lambda: proxy.lost >= 3, 20, "three lost replies")
        proxy.losing.clear()
        assert writer.close(20) == []
    assert kept(valkey.client()) == list(range(5))
    assert told(valkey.client()) == list(range(5))
