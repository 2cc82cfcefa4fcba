"""Servers that answer and take no writes, told by what they say of themselves; and what a look makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from ingest.broker.refusal import Refusal, find_refusal
from ingest.broker.status import publish_status
from ingest.errors import BrokerRefused
from ingest.tools.findings import find, headline
from ingest.tools.watching import Watcher
from settings.model import BrokerSettings
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until

Make = Callable[..., Valkey]


def code_of_a_snapshot(client: redis.Redis) -> str:
    """Return under which code the server refuses one; "" if it takes it."""
    try:
        publish_status(client, "ns", "supervisor", "a:1:x", {"feeds": {}})
    except BrokerRefused as error:
        return error.code
    return ""


def found(client: redis.Redis) -> Refusal:
    refusal = find_refusal(client)
    assert refusal is not None
    return refusal


def test_a_server_that_takes_writes_refuses_nothing(valkey: Valkey) -> None:
    assert find_refusal(valkey.client()) is None


@pytest.mark.parametrize(("policy", "code"), [("noeviction", "OOM"), ("volatile-lru", "OOM"), ("allkeys-lru", "")])
def test_a_full_one_says_how_full_where_it_gives_nothing_up(valkey: Valkey, policy: str, code: str) -> None:
    client = valkey.client()
    client.config_set("maxmemory-policy", policy)
    client.set("ballast", bytes(4_000_000))
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", used + 3_000_000)
    assert find_refusal(client) is None

    client.config_set("maxmemory", used - 1_000_000)

    assert code_of_a_snapshot(client) == code
    refusal = find_refusal(client)
    assert (refusal.cause if refusal else "") == ("full" if code else "")
    if refusal is not None:
        assert f"MiB, maxmemory-policy {policy}" in refusal.detail


def test_a_replica_names_its_primary_and_whether_it_reaches_it(valkey: Valkey, make_valkey: Make) -> None:
    client = valkey.client()
    client.replicaof("127.0.0.1", "1")

    assert code_of_a_snapshot(client) == "READONLY"
    assert found(client) == Refusal("replica", "it is a replica of 127.0.0.1:1, which it does not reach")


def test_one_that_cannot_save_says_so_unless_it_may_go_on_all_the_same(make_valkey: Make) -> None:
    server = make_valkey(save="3600 1")
    client = server.client()
    client.set("key", "value")
    # No room on its disk: a folder stands where the snapshot is to be put.
    folder = Path(client.config_get("dir")["dir"]) / client.config_get("dbfilename")["dbfilename"]
    (folder / "in the way").mkdir(parents=True)
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 60, "a snapshot that fails")

    assert code_of_a_snapshot(client) == "MISCONF"
    assert found(client) == Refusal("disk", "its last snapshot (bgsave) failed")

    client.config_set("stop-writes-on-bgsave-error", "no")
    assert (code_of_a_snapshot(client), find_refusal(client)) == ("", None)


def test_who_may_only_read_is_told_that_it_may_not_ask_and_who_may_ask_is_told(valkey: Valkey) -> None:
    admin = valkey.client()
    admin.acl_setuser("viewer", enabled=True, passwords=["+x"], keys=["*"], categories=["+@read"])
    admin.replicaof("127.0.0.1", "1")
    viewer = redis.Redis.from_url(valkey.url, username="viewer", password="x")

    assert found(viewer).cause == "unknown"
    admin.acl_setuser("viewer", commands=["+info"])
    assert found(viewer).cause == "replica"
    viewer.close()


def test_a_look_asks_only_where_all_have_fallen_silent_and_says_it_first(valkey: Valkey) -> None:
    client = valkey.client()
    broker = BrokerSettings(url=SecretStr(valkey.url), namespace="ns")
    watcher = Watcher(broker)
    assert code_of_a_snapshot(client) == ""
    publish_status(client, "ns", "worker", "w:1:x", {"feeds": {}})
    client.config_set("maxmemory", "100kb")

    assert watcher.look().refusal is None, "all have told of themselves a moment ago"
    assert "cmdstat_info" not in client.info("commandstats")
    # As it is six seconds later; a server that is full lets go of keys whose time has come, and shortens none.
    client.config_set("maxmemory", "0")
    for member in ("supervisor.a:1:x", "worker.w:1:x"):
        client.pexpire(f"ns:__status__.{member}", 4000)
    client.config_set("maxmemory", "100kb")
    overview = watcher.look()
    first = headline(overview, find(overview))
    client.config_set("maxmemory", "0")
    assert code_of_a_snapshot(client) == ""
    again = watcher.look()
    watcher.close()

    assert first.startswith("Redis: refuses writes (")
    assert "nobody can tell how it is: give it more memory" in first
    assert len(find(overview)) == 1
    assert again.refusal is None
    assert [each.alive for each in again.supervisors] == [True]
