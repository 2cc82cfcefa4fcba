"""A server that cannot or will not: nothing half done, and the reason in the reply."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from ingest.errors import BrokerRefused, BrokerTimedOut, BrokerUnreachable
from tests.support.delivery import made_broker, payloads
from tests.support.lines import Caller
from tests.support.redis_server import Valkey, on_every_server
from tests.support.waiting import wait_until

pytestmark = on_every_server


@pytest.fixture
def client(valkey: Valkey) -> redis.Redis:
    return valkey.client()


@pytest.fixture
def caller(valkey: Valkey) -> Iterator[Caller]:
    with made_broker(valkey.url) as broker:
        made = Caller(broker)
        yield made
        made.line.close()


def code(caller: Caller, prev: int, first: int, last: int) -> str:
    reply = caller.call(prev, caller.entries(first, last))
    assert reply.status == "error"
    assert reply.error is not None
    return reply.error.code


def test_out_of_memory_writes_nothing_and_goes_on_when_there_is_some(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    assert caller.call(0, caller.entries(1, 10)).status == "ok"
    client.config_set("maxmemory", "100kb")
    client.config_set("maxmemory-policy", "noeviction")
    assert code(caller, 10, 11, 20) == "OOM"
    with pytest.raises(BrokerRefused, match="OOM"):
        caller.join()
    client.config_set("maxmemory", "0")
    assert caller.join(None) == 10
    assert caller.call(10, caller.entries(11, 20)).status == "ok"
    assert payloads(client) == list(range(1, 21))


def test_memory_that_runs_out_within_a_call_leaves_no_half_batch(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    client.config_set("maxmemory", str(client.info("memory")["used_memory"] + 30_000_000))
    position = 0
    for _ in range(100):
        large = [entry._replace(data=entry.data + b" " * 2000) for entry in caller.entries(position + 1, position + 1000)]
        reply = caller.call(position, large)
        if reply.position is None:
            break
        position = reply.position
    assert reply.error is not None
    assert reply.error.code == "OOM"
    assert position > 1000
    assert position % 1000 == 0
    assert payloads(client) == list(range(1, position + 1))


def test_a_flushed_script_is_said_so_and_the_next_join_brings_it_back(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    client.script_flush()
    caller.send(0, caller.entries(1, 2))
    caller.send(2, caller.entries(3, 4))
    codes = [reply.error.code for reply in (caller.receive(), caller.receive()) if reply.error is not None]
    assert codes == ["NOSCRIPT", "NOSCRIPT"]
    assert caller.join(None) == 0
    assert caller.call(0, caller.entries(1, 4)).status == "ok"


def test_a_replica_refuses_in_words(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    client.replicaof("127.0.0.1", 1)
    assert code(caller, 0, 1, 2) in ("READONLY", "MASTERDOWN")
    client.replicaof("NO", "ONE")
    assert caller.join(None) == 0


def test_too_few_replicas_write_nothing(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    client.config_set("min-replicas-to-write", 1)
    assert code(caller, 0, 1, 2) == "NOREPLICAS"
    client.config_set("min-replicas-to-write", 0)
    assert caller.join(None) == 0
    assert payloads(client) == []


def test_a_user_who_may_not_push_leaves_no_message_without_an_id(valkey: Valkey, client: redis.Redis) -> None:
    client.execute_command("ACL", "SETUSER", "feeder", "on", ">pw", "~*", "+@all", "-rpush")
    with made_broker(valkey.url + "?username=feeder&password=pw") as broker:
        caller = Caller(broker)
        caller.join()
        assert code(caller, 0, 1, 3) == "NOPERM"
        assert client.exists("dramatiq:trades", "dramatiq:trades.msgs") == 0
        assert caller.held(client) == "0"
        client.execute_command("ACL", "SETUSER", "feeder", "+rpush")
        assert caller.call(0, caller.entries(1, 3)).status == "ok"
        caller.line.close()
    assert payloads(client) == [1, 2, 3]


def test_a_stalled_server_gives_no_reply_and_takes_the_call_once(valkey: Valkey, caller: Caller, client: redis.Redis) -> None:
    caller.join()
    with valkey.stalled():
        caller.send(0, caller.entries(1, 3))
        assert caller.line.reply(0.05) is None
        caller.line.close()
    wait_until(lambda: client.llen("dramatiq:trades") == 3, 10, "the late execution")
    assert caller.join(None) == 3
    assert payloads(client) == [1, 2, 3]


def test_a_server_that_is_gone_is_said_so_and_a_closed_line_sends_nothing(valkey: Valkey, caller: Caller) -> None:
    caller.join()
    caller.send(0, caller.entries(1, 1))
    caller.receive()
    valkey.kill()
    with pytest.raises(BrokerUnreachable):
        caller.receive()
    with pytest.raises(BrokerUnreachable, match="closed"):
        caller.send(0, caller.entries(1, 1))
    with pytest.raises(BrokerUnreachable):
        caller.join()
    valkey.start()
    assert caller.join(None) is None


def test_a_server_that_accepts_and_does_not_answer_times_out(valkey: Valkey) -> None:
    with made_broker(valkey.url + "?socket_timeout=0.2") as broker:
        caller = Caller(broker)
        with valkey.stalled(), pytest.raises(BrokerTimedOut):
            caller.join()


def test_what_was_written_ahead_survives_a_crash(make_valkey: Callable[..., Valkey]) -> None:
    valkey = make_valkey(appendonly="yes", appendfsync="always")
    with made_broker(valkey.url) as broker:
        caller = Caller(broker)
        caller.join()
        caller.call(0, caller.entries(1, 500))
        valkey.kill()
        valkey.start()
        caller.line.close()
        assert caller.join(None) == 500
        assert payloads(valkey.client()) == list(range(1, 501))
        caller.line.close()
