"""Orders to supervisors on a real server."""

from __future__ import annotations

import time

import redis

from ingest.broker.control import Control, Paused
from ingest.broker.keys import Keys
from tests.support.redis_server import Valkey

KEYS = Keys("dramatiq")


def test_a_pause_stays_until_it_is_lifted_and_names_who_and_when(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    blue, green = Control(client, KEYS, "blue"), Control(client, KEYS, "green")

    assert blue.pause("trades", "ann@desk")
    assert not blue.pause("trades", "bob")

    [(name, paused)] = blue.paused().items()
    assert (name, paused.feed, paused.by) == ("trades", "trades", "ann@desk")
    assert abs(paused.at - time.time()) < 60
    assert green.paused() == {}
    assert client.ttl("dramatiq:__paused__.blue") == -1
    assert blue.resume("trades")
    assert not blue.resume("trades")
    assert blue.paused() == {}


def test_a_record_that_nobody_can_read_pauses_all_the_same(shared_valkey: Valkey) -> None:
    client: redis.Redis = shared_valkey.client()
    client.hset("dramatiq:__paused__.", mapping={"a": "by hand", "b": "[1]", "c": '{"by": 7, "at": "x"}', "d": '{"by": "eve"}'})
    assert Control(client, KEYS, "").paused() == {
        "a": Paused("a", "", 0.0),
        "b": Paused("b", "", 0.0),
        "c": Paused("c", "", 0.0),
        "d": Paused("d", "eve", 0.0),
    }
