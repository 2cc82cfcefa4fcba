"""Status snapshots and queue depths against a real Valkey."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from ingest.broker.queues import QueueDepth, queue_depths
from ingest.broker.status import (
    FINAL_TTL,
    FORMAT,
    RUNNING_TTL,
    publish_status,
    read_processes,
    read_statuses,
    slowest_lags,
)
from ingest.errors import BrokerError
from tests.support.redis_server import Valkey

SNAPSHOT: dict[str, Any] = {"feeds": {"trades": {"state": "READY", "frames": 7}}}


def test_a_snapshot_comes_back_with_who_wrote_it_and_when(valkey: Valkey) -> None:
    client = valkey.client()

    publish_status(client, "ns", "supervisor", "host-1", SNAPSHOT)

    [status] = read_statuses(client, "ns")
    assert status["at"] == pytest.approx(float(client.time()[0]), abs=60)
    assert {**status, "at": 0} == {"format": 1, "kind": "supervisor", "id": "host-1", "at": 0, "final": False, **SNAPSHOT}


def test_what_no_other_json_takes_is_told_all_the_same(valkey: Valkey) -> None:
    client = valkey.client()

    publish_status(client, "ns", "worker", "a", {"feeds": {"trades": {"last_reason": "odd \udc80 text"}}})

    [status] = read_statuses(client, "ns")
    assert status["feeds"] == {"trades": {"last_reason": "odd \udc80 text"}}


def test_a_later_snapshot_replaces_the_earlier_one_and_every_process_has_its_own(valkey: Valkey) -> None:
    client = valkey.client()

    publish_status(client, "ns", "worker", "b", {"feeds": {}})
    publish_status(client, "ns", "worker", "a", {"feeds": {}})
    publish_status(client, "ns", "worker", "a", SNAPSHOT, final=True)

    assert [(status["id"], status["final"], status["feeds"]) for status in read_statuses(client, "ns")] == [
        ("a", True, SNAPSHOT["feeds"]),
        ("b", False, {}),
    ]


def test_namespaces_do_not_see_each_other(valkey: Valkey) -> None:
    client = valkey.client()
    publish_status(client, "one", "worker", "a", {})

    assert read_statuses(client, "two") == []


def test_snapshots_expire_and_final_ones_stay_longer(valkey: Valkey) -> None:
    client = valkey.client()
    publish_status(client, "ns", "worker", "running", {})
    publish_status(client, "ns", "worker", "ended", {}, final=True)

    assert 0 < client.ttl("ns:__status__.worker.running") <= RUNNING_TTL
    assert RUNNING_TTL < client.ttl("ns:__status__.worker.ended") <= FINAL_TTL
    assert client.ttl("ns:__status__") >= FINAL_TTL

    client.delete("ns:__status__.worker.running")  # as the expiry does
    assert [status["id"] for status in read_statuses(client, "ns")] == ["ended"]


def test_the_index_forgets_who_has_long_gone(valkey: Valkey) -> None:
    client = valkey.client()
    client.zadd("ns:__status__", {"worker.ancient": 1.0})

    publish_status(client, "ns", "worker", "a", {})

    assert client.zrange("ns:__status__", 0, -1) == [b"worker.a"]


def test_who_was_killed_is_known_for_an_hour_and_who_ended_in_order_is_forgotten(valkey: Valkey) -> None:
    client = valkey.client()
    for id_ in ("h:1:running", "h:2:killed", "h:3:ended"):
        publish_status(client, "ns", "supervisor", id_, {})
    publish_status(client, "ns", "supervisor", "h:3:ended", {}, final=True)
    client.delete("ns:__status__.supervisor.h:2:killed")  # as the expiry does
    assert read_processes(client, "ns").gone == []  # it may be a moment between snapshot and index

    client.zincrby("ns:__status__", -RUNNING_TTL - 60, "supervisor.h:2:killed")  # as time does
    client.zincrby("ns:__status__", -FINAL_TTL - 1, "supervisor.h:3:ended")
    client.delete("ns:__status__.supervisor.h:3:ended")

    reading = read_processes(client, "ns")
    assert [status["id"] for status in reading.statuses] == ["h:1:running"]
    [gone] = reading.gone
    assert (gone.kind, gone.id) == ("supervisor", "h:2:killed")
    assert 70 - 1 <= reading.at - gone.seen <= 90


def test_ages_are_by_redis_s_clock(valkey: Valkey) -> None:
    client = valkey.client()
    publish_status(client, "ns", "supervisor", "running", {})
    publish_status(client, "ns", "worker", "ended", {}, final=True)
    client.pexpire("ns:__status__.supervisor.running", RUNNING_TTL * 1000 - 4000)
    client.pexpire("ns:__status__.worker.ended", FINAL_TTL * 1000 - 30_000)

    ages = read_processes(client, "ns").ages

    assert ages.keys() == {"running", "ended"}
    assert 4 <= ages["running"] <= RUNNING_TTL, "a little older where the machine is busy"
    assert 30 <= ages["ended"] <= 40


def test_the_slowest_worker_that_runs_gives_the_lag() -> None:
    head = {"format": 1, "kind": "worker", "at": 1.0, "final": False}
    one = {**head, "id": "a", "feeds": {"trades": {"lag_ms": {"p50": 1.0, "p99": 9.0}}, "book": {"lag_ms": None}}}
    other = {
        **head,
        "id": "b",
        "feeds": {"trades": {"lag_ms": {"p50": 2.0, "p99": 3.0}}, "odd": 7, "old": {"lag_ms": {"p50": 1}}},
    }
    ended = {**head, "id": "c", "final": True, "feeds": {"trades": {"lag_ms": {"p50": 50.0, "p99": 50.0}}}}
    odd = {**head, "id": "d", "feeds": [1]}
    supervisor = {**head, "id": "e", "kind": "supervisor", "feeds": {"trades": {"lag_ms": {"p50": 70.0, "p99": 70.0}}}}

    assert slowest_lags([one, other, ended, odd, supervisor]) == {"trades": (2.0, 9.0)}


@pytest.mark.parametrize(
    "text",
    ["{", "7", '{"format": 1}', json.dumps({"format": FORMAT + 1, "kind": "worker", "id": "x", "at": 0, "final": False})],
    ids=["cut short", "no object", "incomplete", "newer"],
)
def test_readers_skip_what_they_do_not_understand(valkey: Valkey, text: str) -> None:
    client = valkey.client()
    publish_status(client, "ns", "worker", "good", {})
    publish_status(client, "ns", "worker", "odd", {})
    client.set("ns:__status__.worker.odd", text)

    assert [status["id"] for status in read_statuses(client, "ns")] == ["good"]


def test_reading_writes_nothing(valkey: Valkey) -> None:
    client = valkey.client()
    publish_status(client, "ns", "worker", "a", {})
    client.execute_command("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@read", "-@write")
    reader = redis.Redis.from_url(valkey.url, username="reader", password="any")

    try:
        assert [status["id"] for status in read_statuses(reader, "ns")] == ["a"]
    finally:
        reader.close()


def test_depths_are_ready_dead_and_delayed_messages_and_the_head(valkey: Valkey) -> None:
    client = valkey.client()
    client.rpush("ns:trades", "first", "second")
    client.zadd("ns:trades.XQ", {"dead": 1.0})
    client.hset("ns:trades.DQ.msgs", mapping={"third": "x", "fourth": "x", "fifth": "x"})
    client.rpush("other:trades", "not", "ours", "at all")

    depths = queue_depths(client, "ns", ["trades", "books"])

    assert depths == {"trades": QueueDepth(2, 1, b"first", 3), "books": QueueDepth(0, 0, None, 0)}
    assert queue_depths(client, "ns", []) == {}


def test_an_absent_redis_is_a_broker_error(valkey: Valkey) -> None:
    client = valkey.client()
    valkey.stop()

    with pytest.raises(BrokerError):
        publish_status(client, "ns", "worker", "a", {})
    with pytest.raises(BrokerError):
        read_statuses(client, "ns")
    with pytest.raises(BrokerError):
        queue_depths(client, "ns", ["trades"])
