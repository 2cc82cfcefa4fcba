"""A Redis that is there and refuses: it is waited for without end, nothing is given up, and no half batch is left."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import redis

from tests.support.fault_feeds import PATIENT, QUEUE
from tests.support.fault_run import KEY, supervising
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.waiting import wait_until

FEED_KEY, RATE_KEY = "dramatiq:__feed__..trades", "dramatiq:__rate__.trades"

#: A limit that never holds anything back here: it makes the scripts use the rate's key.
LIMITED = f"{QUEUE}rate_limit = 1_000_000\n"

RATE = 2000


def put_away(client: redis.Redis, key: str, make: str, *values: object) -> None:
    """Put something else in the place of a key, in one moment."""
    with client.pipeline(transaction=True) as pipe:
        pipe.rename(key, "put:away")
        pipe.execute_command(make, key, *values)
        pipe.execute()


def put_back(client: redis.Redis, key: str) -> None:
    client.rename("put:away", key)


def spoil_rate(client: redis.Redis) -> None:
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(RATE_KEY)
        pipe.rpush(RATE_KEY, "not ours")
        pipe.execute()


class Refusal(NamedTuple):
    """What makes a server refuse, what ends that, and what the log must say."""

    name: str
    begin: Callable[[redis.Redis], object]
    end: Callable[[redis.Redis], object]
    told: str


REFUSALS = [
    Refusal(
        "out of memory (maxmemory, noeviction)",
        lambda client: client.config_set("maxmemory", "1mb"),
        lambda client: client.config_set("maxmemory", "0"),
        "OOM",
    ),
    Refusal(
        "read-only replica (REPLICAOF, then NO ONE)",
        lambda client: client.replicaof("127.0.0.1", "1"),
        lambda client: client.replicaof("NO", "ONE"),
        "READONLY",
    ),
    Refusal(
        "min-replicas-to-write without a replica",
        lambda client: client.config_set("min-replicas-to-write", "1"),
        lambda client: client.config_set("min-replicas-to-write", "0"),
        "NOREPLICAS",
    ),
    Refusal(
        "ACL without RPUSH",
        lambda client: client.execute_command("ACL", "SETUSER", "default", "-rpush"),
        lambda client: client.execute_command("ACL", "SETUSER", "default", "+rpush"),
        "NOPERM",
    ),
    Refusal(
        "wrong type: the queue's list is a string",
        lambda client: put_away(client, KEY, "SET", "not ours"),
        lambda client: put_back(client, KEY),
        "WRONGTYPE",
    ),
    Refusal(
        "wrong type: the queue's messages are a list",
        lambda client: put_away(client, f"{KEY}.msgs", "RPUSH", "not ours"),
        lambda client: put_back(client, f"{KEY}.msgs"),
        "WRONGTYPE",
    ),
    Refusal(
        "wrong type: the feed's hash is a string",
        lambda client: put_away(client, FEED_KEY, "SET", "not ours"),
        lambda client: put_back(client, FEED_KEY),
        "WRONGTYPE",
    ),
    Refusal(
        "wrong type: the rate's key is a list",
        spoil_rate,
        lambda client: client.delete(RATE_KEY),
        "WRONGTYPE",
    ),
]

#: Those that `make test` tries too.
QUICK = ("out of memory", "wrong type: the queue's list")


@pytest.mark.parametrize(
    "refusal",
    [pytest.param(each, id=each.name, marks=[pytest.mark.quick] if each.name.startswith(QUICK) else []) for each in REFUSALS],
)
def test_a_refusal_is_told_once_and_waited_for_and_nothing_is_lost_doubled_or_left_half_done(tmp_path, valkey, fault, refusal):
    stream = NumberedStream(rate=RATE)
    with numbered_server(stream) as server, supervising(tmp_path, valkey, server.url, extra=PATIENT, top=LIMITED) as run:
        fault(refusal.name, run.memory)
        run.flows(beyond=RATE // 4)
        fault.begins()
        refusal.begin(run.client)
        fault.noticed(lambda: run.told(f"broker_unavailable .*{refusal.told}"), 60, "the refusal in the log")
        until = stream.last + RATE // 2
        stream.wait_for(until)
        refusal.end(run.client)
        fault.ends()
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
        stream.pause()
        run.flows(beyond=stream.newest - 1)
        wait_until(lambda: run.told("broker_recovered "), 60, "the recovery in the log")
        assert run.client.hlen(f"{KEY}.msgs") == run.depth(), "messages that no list names"
    found = fault.compared(run.numbers(), stream.connections)
    assert len(found.tails) == 1, "the server noticed"
    assert run.told("broker_unavailable ") == run.told("broker_recovered ") == 1
    assert not run.told("message_rejected|lease_lost|queue_forgotten|gap_found")


@pytest.mark.quick
def test_scripts_flushed_every_50_ms_cost_a_join_and_are_no_outage(tmp_path, valkey, fault):
    stream = NumberedStream(rate=5000)
    with numbered_server(stream) as server, supervising(tmp_path, valkey, server.url, extra=PATIENT) as run:
        fault("SCRIPT FLUSH every 50 ms", run.memory)
        run.flows(beyond=500)
        fault.begins()
        for _ in range(20):
            run.client.script_flush()
            flushed = stream.last
            stream.wait_for(flushed + 250)
        fault.ends()
        until = stream.last
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
    fault.compared(run.numbers(), stream.connections)
    assert not run.told("broker_unavailable|lease_lost|queue_forgotten")


def test_eviction_of_keys_that_expire_passes_the_lease_and_the_queue_by(tmp_path, valkey, fault):
    stream = NumberedStream(rate=RATE)
    with numbered_server(stream) as server, supervising(tmp_path, valkey, server.url, top=LIMITED) as run:
        fault("volatile-lru under pressure", run.memory)
        run.flows(beyond=RATE // 2)
        client = run.client
        client.config_set("maxmemory-policy", "volatile-lru")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 16 * 1024 * 1024)
        fault.begins()
        until = stream.last + 2 * RATE
        for number in range(100_000):
            client.set(f"somebody:else:{number}", "x" * 1000, ex=3600)
            if stream.last >= until and number >= 30_000:
                break
        fault.ends()
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
        assert client.info("stats")["evicted_keys"] > 1000, "no pressure"
        assert client.ttl(FEED_KEY) == -1
        assert client.hexists(FEED_KEY, "leader")
    fault.compared(run.numbers(), stream.connections)
    assert not run.told("broker_unavailable|lease_lost|queue_forgotten|gap_found")
