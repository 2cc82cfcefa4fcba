"""Connections to Redis that break, lose replies, or carry out late what was given up: a retry doubles nothing."""

import time

import pytest

from tests.support.fault_feeds import PATIENT, QUEUE
from tests.support.fault_run import KEY, supervising
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.redis_proxy import RedisProxy
from tests.support.waiting import wait_until

#: Seconds between two kills, and how long they go on.
EVERY, LASTING = 0.05, 10.0


def kill_again_and_again(client, seconds):
    """End every connection but our own, every `EVERY` seconds; return how many were."""
    killed, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        killed += client.client_kill_filter(_type="normal", skipme=True)
        time.sleep(EVERY)  # the period of the fault
    return killed


def test_connections_killed_every_50_ms_for_10_s_lose_and_double_nothing(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=2000)
    with numbered_server(stream) as server, supervising(tmp_path, shared_valkey, server.url) as run:
        fault("Redis connections killed every 50 ms for 10 s", run.memory)
        run.flows(beyond=1000)
        fault.begins()
        before, arrived = stream.last, run.newest()
        killed = kill_again_and_again(run.client, LASTING)
        fault.ends()
        assert killed > 50, "few connections were there to be killed"
        assert run.newest() > arrived + LASTING * 2000 / 2, "hardly anything got through between the kills"
        fault.recovered(lambda: run.newest() > before + LASTING * 2000, 60, "what was read meanwhile")
    found = fault.compared(run.numbers(), stream.connections)
    assert len(found.tails) == 1, "the server noticed"
    assert not run.told("lease_lost|queue_forgotten")


def test_killed_on_a_slow_road_no_more_than_five_times_the_payload_is_sent(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=1500, size=200)
    with (
        RedisProxy(shared_valkey.path, rate=5_000_000) as proxy,
        numbered_server(stream) as server,
        supervising(tmp_path, shared_valkey, server.url, redis_url=proxy.url) as run,
    ):
        fault("the same through a road of 5 MB/s", run.memory)
        run.flows(beyond=1000)
        fault.begins()
        already, received = _payload_bytes(run.client), proxy.received
        kill_again_and_again(run.client, LASTING)
        until = stream.last
        fault.ends()
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
        payload, sent = _payload_bytes(run.client) - already, proxy.received - received
        assert payload > 4_000_000, "too little to tell"
        assert sent <= 5 * payload, f"sent {sent} bytes for {payload}"
    fault.compared(run.numbers(), stream.connections)
    fault.name += f": {sent / payload:.1f} times the payload sent"


def _payload_bytes(client):
    """Return the bytes of the messages in the queue, with their ids."""
    return sum(len(name) * 2 + len(data) for name, data in client.hscan_iter(f"{KEY}.msgs", count=10_000))


@pytest.mark.quick
def test_replies_lost_after_execution_double_nothing(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=2000)
    with (
        RedisProxy(shared_valkey.path) as proxy,
        numbered_server(stream) as server,
        supervising(tmp_path, shared_valkey, server.url, extra=PATIENT, redis_url=proxy.url) as run,
    ):
        fault("replies lost after execution, ten times", run.memory)
        run.flows(beyond=100)
        fault.begins()
        for _ in range(10):
            lost, executed = proxy.lost, run.newest()
            proxy.losing.set()
            wait_until(lambda before=lost: proxy.lost > before, 60, "a lost reply")
            proxy.losing.clear()
            wait_until(lambda before=executed: run.newest() > before, 60, "progress")
        until = stream.last
        fault.ends()
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
    assert proxy.lost >= 10
    fault.compared(run.numbers(), stream.connections)
    assert not run.told("queue_forgotten")


def test_calls_of_a_dead_connection_carried_out_after_its_successor_has_gone_on_are_void(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=2000)
    with (
        RedisProxy(shared_valkey.path) as proxy,
        numbered_server(stream) as server,
        supervising(tmp_path, shared_valkey, server.url, redis_url=proxy.url, top=f"{QUEUE}[supervisor]\nlease = 600\n") as run,
    ):
        fault("calls carried out after their time-out, when the next connection has gone on", run.memory)
        run.flows(beyond=1000)
        fault.begins()
        proxy.hold()
        held = stream.last
        fault.noticed(lambda: run.told("broker_unavailable "), 60, "the silence: a call has 5 s")
        fault.recovered(lambda: run.newest() > held + 2000, 60, "the next connection")
        calls = _calls(run.client)
        stream.pause()
        run.flows(beyond=stream.newest - 1)
        proxy.release()
        wait_until(lambda: _calls(run.client) > calls, 60, "the late calls")
        stream.resume()
        run.flows(beyond=stream.newest + 1000)
    fault.compared(run.numbers(), stream.connections)
    assert not run.told("queue_forgotten|lease_lost")


def _calls(client):
    """Return how many scripts Redis has carried out by their digest: enqueue.lua, as no lease is renewed meanwhile."""
    return client.info("commandstats")["cmdstat_evalsha"]["calls"]
