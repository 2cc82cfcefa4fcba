"""What a real server, and snapshots in it, say of themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from ingest.broker.inspection import inspect
from ingest.broker.status import publish_status
from ingest.errors import BrokerUnreachable
from tests.support.redis_server import Valkey


def look(client: redis.Redis, *queues: str, act: Callable[[], object] = lambda: None) -> Any:
    return inspect(client, "dramatiq", queues, 0.0, sleep=lambda seconds: act())


def test_the_server_tells_of_itself(make_valkey: Any) -> None:
    server = make_valkey(maxmemory="50mb", maxmemory_policy="volatile-lru", appendonly="yes", maxclients="77", save="60 1000")
    found = look(server.client())
    facts = found.server
    assert (facts.name, facts.role, facts.cluster) == ("Valkey", "master", False)
    assert facts.equals >= (7, 0)
    assert (facts.maxmemory, facts.policy, facts.aof, facts.saves, facts.maxclients) == (
        50 * 1024 * 1024, "volatile-lru", True, "60 1000", 77
    )  # fmt: skip
    assert 0 < facts.used_memory < facts.maxmemory
    assert facts.connected >= 1
    assert found.connections is not None
    assert sum(found.connections.values()) >= 1
    assert abs(found.ahead) < 60
    assert found.walked_all


def test_what_is_forbidden_is_unknown(valkey: Valkey) -> None:
    valkey.client().execute_command("ACL", "SETUSER", "weak", "on", "nopass", "~*", "&*", "+@all", "-config", "-client|list")
    weak = redis.Redis.from_url(valkey.url, username="weak", password="x")
    try:
        found = look(weak)
    finally:
        weak.close()
    assert (found.connections, found.server.saves) == (None, None)


def test_queues_are_seen_twice(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    client.rpush("dramatiq:trades", "a", "b")

    found = look(client, "trades", "book", act=lambda: client.lpop("dramatiq:trades"))

    trades = found.depths["trades"]
    assert (trades.first.ready, trades.first.head, trades.second.ready, trades.second.head) == (2, b"a", 1, b"b")
    assert found.depths["book"].second.ready == 0


def test_workers_are_counted_by_namespace_and_dead_ones_are_not(shared_valkey: Valkey) -> None:
    client, now = shared_valkey.client(), int(time.time() * 1000)
    client.zadd("dramatiq:__heartbeats__", {"alive": now, "dead": now - 61_000})
    client.zadd("shop:__heartbeats__", {"alive": now, "too": now - 1000})
    client.zadd("gone:__heartbeats__", {"dead": now - 100_000})
    client.set("odd:__heartbeats__", "not a set")
    found = look(client)
    assert (found.workers, found.elsewhere) == (1, {"shop": 2})


def test_the_clock_of_each_process_is_judged_by_when_its_snapshot_expires(
    shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = shared_valkey.client()
    publish_status(client, "dramatiq", "supervisor", "web.1:7:ab", {"feeds": {}})
    publish_status(client, "dramatiq", "worker", "web.3:8:ab", {"feeds": {}}, final=True)
    real = time.time
    with monkeypatch.context() as patched:
        patched.setattr("ingest.broker.status.time.time", lambda: real() - 100)
        publish_status(client, "dramatiq", "worker", "web.2:9:ab", {"feeds": {}})

    found = look(client)

    assert set(found.clocks) == {"supervisor web.1:7", "worker web.2:9"}
    assert abs(found.clocks["supervisor web.1:7"]) < 5
    assert abs(found.clocks["worker web.2:9"] + 100) < 5
    assert (found.supervisors, found.worker_processes) == (1, 1)


def test_redis_that_is_gone_is_said_so(valkey: Valkey) -> None:
    client = valkey.client()
    valkey.stop()
    with pytest.raises(BrokerUnreachable):
        look(client, "trades")
