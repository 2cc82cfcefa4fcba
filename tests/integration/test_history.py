"""Points and happenings of feeds in a real Valkey."""

from __future__ import annotations

import json

import pytest
import redis

from ingest.broker.history import (
    FORMAT,
    HAPPENINGS_KEPT,
    KEPT,
    MOST_HAPPENINGS,
    FeedHistory,
    Happening,
    Point,
    read_history,
    write_history,
)
from ingest.broker.keys import Keys
from ingest.errors import BrokerError
from tests.support.redis_server import Valkey

KEYS = Keys("ns")
NOW = 1_790_000_000.0
FEED = ("blue", "trades")


def point(at: float, frames: float = 1.0, state: str = "READY") -> Point:
    return Point(at=at, state=state, frames=frames, enqueued=2.0, depth=3, lag_p50=4.0, lag_p99=5.0)


def test_what_is_written_comes_back_by_feed_and_group_in_order(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    late = Happening(at=NOW + 1, what="lost", detail="IdleTimedOut: nothing", where="h:1")
    write_history(client, KEYS, "blue", {"trades": point(NOW + 10)}, {"trades": [late]})
    write_history(client, KEYS, "blue", {"trades": point(NOW)}, {"trades": [Happening(at=NOW, what="ready")], "book": []})

    found = read_history(client, KEYS, [FEED, ("green", "trades"), FEED])

    assert found == {
        FEED: FeedHistory([point(NOW), point(NOW + 10)], [Happening(at=NOW, what="ready"), late]),
        ("green", "trades"): FeedHistory([], []),
    }
    assert read_history(client, KEYS, [FEED], since=NOW + 5, happenings=False) == {FEED: FeedHistory([point(NOW + 10)], [])}
    assert len(read_history(client, KEYS, [FEED], since=NOW + 5)[FEED].happenings) == 2
    assert read_history(client, KEYS, []) == {}


def test_writing_again_what_may_have_been_written_doubles_nothing(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    for _ in range(2):
        write_history(client, KEYS, "blue", {"trades": point(NOW)}, {"trades": [Happening(at=NOW, what="ready")]})

    found = read_history(client, KEYS, [FEED])[FEED]
    assert (len(found.points), len(found.happenings)) == (1, 1)


def test_it_is_bounded_and_expires(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    write_history(client, KEYS, "blue", {"trades": point(NOW - KEPT - 1)}, {})
    news = [Happening(at=NOW + number, what="ready") for number in range(MOST_HAPPENINGS + 5)]
    write_history(client, KEYS, "blue", {"trades": point(NOW)}, {"trades": news})

    found = read_history(client, KEYS, [FEED])[FEED]
    assert found.points == [point(NOW)]
    assert found.happenings == news[5:]
    assert 0 < client.ttl("ns:__history__.blue.trades") <= KEPT
    assert 0 < client.ttl("ns:__connections__.blue.trades") <= HAPPENINGS_KEPT


def test_points_of_two_supervisors_within_an_interval_are_that_of_the_one_that_reads(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    for each in (point(NOW, 0.0, "FAILED"), point(NOW + 1, 50.0), point(NOW + 2, 0.0, "FAILED"), point(NOW + 11, 60.0)):
        write_history(client, KEYS, "blue", {"trades": each}, {})

    assert [each.frames for each in read_history(client, KEYS, [FEED])[FEED].points] == [50.0, 60.0]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "7",
        "{}",
        json.dumps({"v": FORMAT + 1, "at": NOW, "what": "x", "state": "READY", "frames": 1, "enqueued": 1, "depth": 1}),
        json.dumps({"v": 1, "at": "now", "what": 7, "state": "READY", "frames": 1, "enqueued": 1, "depth": 1}),
        '{"v": 1, "at": 1, "state": "READY", "frames": NaN, "enqueued": 1, "depth": 1}',
    ],
)
def test_readers_skip_what_they_do_not_understand(shared_valkey: Valkey, text: str) -> None:
    client = shared_valkey.client()
    for key in ("ns:__history__.blue.trades", "ns:__connections__.blue.trades"):
        client.zadd(key, {text: NOW})

    assert read_history(client, KEYS, [FEED]) == {FEED: FeedHistory([], [])}


def test_reading_writes_nothing(shared_valkey: Valkey) -> None:
    write_history(shared_valkey.client(), KEYS, "blue", {"trades": point(NOW)}, {})
    shared_valkey.client().execute_command("ACL", "SETUSER", "historian", "on", "nopass", "~*", "+@read", "-@write")
    reader = redis.Redis.from_url(shared_valkey.url, username="historian", password="any")

    try:
        assert read_history(reader, KEYS, [FEED])[FEED].points == [point(NOW)]
    finally:
        reader.close()


def test_an_absent_redis_is_a_broker_error(valkey: Valkey) -> None:
    client = valkey.client()
    valkey.stop()

    with pytest.raises(BrokerError):
        write_history(client, KEYS, "blue", {"trades": point(NOW)}, {})
    with pytest.raises(BrokerError):
        read_history(client, KEYS, [FEED])
