"""Redis's clock jumps by an hour, and the rate that is kept by it: no order, lease or message depends on the time of day."""

import signal
import time
from itertools import count

import pytest

from ingest.service.keeper import ATTEMPT_INTERVAL
from tests.support.fault_run import leader_and_standby, supervising
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.waiting import wait_until

HOUR = 3600
RATE = 2000
LEASE = 1.0

#: What the queue takes; its burst is 1/20 of that.
TOP = f"[queues.trades]\nhigh_watermark = 10_000_000\nrate_limit = {RATE}\n[supervisor]\nlease = {LEASE}\n"


def redis_seconds(client):
    seconds, micros = client.time()
    return seconds + micros / 1_000_000


@pytest.mark.parametrize("hours", [1, -1], ids=["forward", "back"])
def test_an_hour_costs_one_burst_and_no_lead(tmp_path, clock, fault, hours):
    stream = NumberedStream(rate=RATE * 1.2)
    with (
        numbered_server(stream) as server,
        supervising(tmp_path, clock.valkey, server.url, top=TOP) as run,
    ):
        fault(f"Redis's clock {'forward' if hours > 0 else 'back'} an hour", run.memory)
        run.flows(beyond=RATE)
        before = redis_seconds(run.client)
        fault.begins()
        began, depth = time.monotonic(), run.depth()
        clock.set(hours * HOUR)
        wait_until(lambda: abs(redis_seconds(run.client) - before - hours * HOUR) < 10, 1, "the jump")
        fault.recovered(lambda: run.depth() > depth + RATE // 4, 10, "more messages")
        time.sleep(LEASE * 2)  # a lease that a clock could end would be lost meanwhile
        run.flows(beyond=depth + RATE)  # and it went on; how fast is for the machine to say
        enqueued, seconds = run.depth() - depth, time.monotonic() - began
        assert enqueued <= 1.05 * RATE * seconds + RATE / 20 * 2, "slower on a busy machine, never faster"
        clock.set(0)
        run.flows(beyond=run.newest() + RATE)
        stream.pause()
        run.flows(beyond=stream.newest - 1)
        assert run.gaps() == []
    fault.compared(run.numbers(), stream.connections)
    assert len(stream.connections) == 1
    assert not run.told("lease_lost|queue_forgotten|broker_unavailable")


def test_a_dead_leader_is_replaced_within_the_lease_though_by_redis_it_has_an_hour_left(tmp_path, clock, fault):
    stream = NumberedStream(rate=RATE / 2)
    with (
        numbered_server(stream) as server,
        leader_and_standby(tmp_path, clock.valkey, server.url, top=TOP) as (leader, standby),
    ):
        fault("leader killed when Redis's clock has gone back an hour", standby.memory)
        standby.flows(beyond=RATE // 2)
        clock.set(-HOUR)
        leader.signal(signal.SIGKILL)
        fault.begins()
        fault.recovered(lambda: standby.told("lease_taken "), LEASE + 2, "the standby's lead")
        assert fault.recovered_after < LEASE + 1, "the lease, and what a busy machine adds"
        wait_until(lambda: len(stream.connections) == 2, 60, "its connection")
        standby.flows(beyond=stream.last + RATE)
        [gap] = standby.gaps("failover")
        assert gap["last_seq"] > RATE // 2
    fault.compared(standby.numbers(), stream.connections)


def leads_after_a_jump(clock, hours, standby):
    """Let the lease be over by Redis's clock, an hour further each time: whoever of the two asks next has the lead."""
    jumped = time.monotonic()
    clock.set(next(hours) * HOUR)
    while not standby.told("lease_taken ") and time.monotonic() - jumped < 2 * ATTEMPT_INTERVAL:
        time.sleep(0.01)  # between two looks
    return standby.told("lease_taken ")


def test_a_leader_that_is_deposed_because_redis_skipped_an_hour_adds_nothing_any_more(tmp_path, clock, fault):
    stream = NumberedStream(rate=RATE / 2)
    with (
        numbered_server(stream) as server,
        leader_and_standby(tmp_path, clock.valkey, server.url, top=TOP) as (leader, standby),
    ):
        fault("Redis's clock forward an hour with a standby (lost: fenced, recorded)", standby.memory)
        standby.flows(beyond=RATE // 2)
        hours = count(1)
        fault.begins()
        fault.recovered(lambda: leads_after_a_jump(clock, hours, standby), 30, "the standby's lead, by chance")
        leader.wait_for_log("lease_lost ")
        standby.flows(beyond=stream.last + RATE)
        assert leader.stop() == 0
        assert " lost=0" in leader.log
        fenced = standby.gaps("fenced")
    given_up = [stream.connections[0][gap["last_seq"] + at] for gap in fenced for at in range(gap["count"])]
    fault.compared(standby.numbers(), stream.connections, given_up=given_up)
