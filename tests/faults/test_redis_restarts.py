"""A Redis that restarts, forgets, or is replaced: what it kept goes on without a hole, what it forgot is a gap record."""

import re
import threading
from contextlib import ExitStack

import pytest

from tests.support.fault_feeds import PATIENT, QUEUE
from tests.support.fault_run import supervising
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import version_of
from tests.support.waiting import wait_until

RATE = 2000

#: A lease that is renewed three times a second: so soon is it noticed on a quiet feed that Redis forgot.
QUICK_LEASE = f"{QUEUE}[supervisor]\nlease = 1\n"


def forgotten_by(gap):
    """Return the numbers that a record says Redis forgot: the feed had one connection, so they are those of its messages."""
    confirmed, held = map(int, re.search(r"had confirmed number (\d+) and knows of (\d+)", gap["detail"]).groups())
    assert gap["last_seq"] == held
    assert gap["to_us"] > gap["from_us"] > 0
    return range(held + 1, confirmed + 1)


def test_restarts_of_a_redis_that_writes_ahead_lose_and_double_nothing(tmp_path, make_valkey, fault):
    valkey = make_valkey(appendonly="yes", appendfsync="always")
    stream = NumberedStream(rate=RATE)
    with numbered_server(stream) as server, supervising(tmp_path, valkey, server.url) as run:
        fault("Redis killed and restarted (AOF, always), three times", run.memory)
        for times in (1, 2, 3):
            run.flows(beyond=RATE * times // 2)
            valkey.kill()
            fault.begins()
            fault.noticed(lambda times=times: run.told("broker_unavailable ") == times, 60, "the outage in the log")
            valkey.start()
            fault.ends()
            until = stream.last
            fault.recovered(lambda until=until: run.newest() >= until, 60, "what was read meanwhile")
            wait_until(lambda times=times: run.told("broker_recovered ") == times, 60, "the recovery in the log")
        assert run.gaps() == []
    found = fault.compared(run.numbers(), stream.connections)
    assert len(found.tails) == 1


def test_loading_is_waited_for(tmp_path, server_binary, make_valkey, fault):
    if "v=6." in version_of(server_binary):
        pytest.skip("Redis 6.2 answers nobody before it has loaded 2 MiB, and cannot be told otherwise")
    valkey = make_valkey(enable_debug_command="yes", loading_process_events_interval_bytes="1024")
    client = valkey.client()
    client.mset({f"somebody:else:{number}": "x" * 100 for number in range(4000)})
    stream = NumberedStream(rate=RATE)
    with numbered_server(stream) as server, supervising(tmp_path, valkey, server.url) as run:
        fault("Redis loads for 2 s (LOADING)", run.memory)
        run.flows(beyond=100)
        client.config_set("key-load-delay", "500")
        loading = threading.Thread(target=lambda: client.execute_command("DEBUG", "RELOAD"))
        fault.begins()
        loading.start()
        fault.noticed(lambda: run.told("broker_unavailable .*LOADING"), 60, "the refusal in the log")
        loading.join()
        fault.ends()
        until = stream.last
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
        assert run.gaps() == []
    found = fault.compared(run.numbers(), stream.connections)
    assert len(found.tails) == 1
    assert run.told("broker_unavailable ") == run.told("broker_recovered ") == 1


def test_what_a_restart_without_persistence_forgot_is_a_gap_and_everything_after_is_in_order(tmp_path, valkey, fault):
    stream = NumberedStream(rate=RATE)
    with numbered_server(stream) as server, supervising(tmp_path, valkey, server.url) as run:
        fault("Redis killed and restarted without persistence, twice (lost: what the second forgot, recorded)", run.memory)
        known = 0
        for _ in (1, 2):
            run.flows(beyond=known + RATE)
            known = run.newest()
            valkey.kill()
            fault.begins()
            valkey.start()
            fault.ends()
            fault.noticed(lambda: run.told("queue_forgotten "), 60, "that it forgot")
            until = stream.last
            fault.recovered(lambda until=until: run.newest() >= until, 60, "what was read meanwhile")
            gap = run.gaps()[-1]
            forgotten = forgotten_by(gap)
            assert forgotten.start == 1
            assert forgotten.stop > known, "less than was in the queue"
        assert len(run.gaps()) == 1, "the first record was in the Redis that forgot"
    arrived = run.numbers()
    fault.compared(arrived, stream.connections, given_up=forgotten)
    assert arrived[0] == forgotten.stop
    assert run.told("queue_forgotten ") == 2
    assert len(stream.connections) == 1, "the server noticed"


@pytest.mark.quick
def test_a_flush_under_load_is_a_gap_and_everything_after_is_in_order(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=20_000)
    with numbered_server(stream) as server, supervising(tmp_path, shared_valkey, server.url, extra=PATIENT) as run:
        fault("FLUSHALL under load (lost: what it forgot, recorded)", run.memory)
        run.flows(beyond=10_000)
        known = run.newest()
        fault.begins()
        run.client.flushall()
        fault.noticed(lambda: run.told("queue_forgotten "), 60, "that it forgot")
        until = stream.last
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
        [gap] = wait_until(run.gaps, 60, "the record")
    forgotten, arrived = forgotten_by(gap), run.numbers()
    assert forgotten.stop > known, "less than was in the queue"
    fault.compared(arrived, stream.connections, given_up=forgotten)
    assert arrived[0] == forgotten.stop
    assert len(stream.connections) == 1, "the server noticed"


def test_a_flush_on_a_quiet_feed_is_noticed_without_a_frame_and_is_a_gap(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    with numbered_server(stream) as server, supervising(tmp_path, shared_valkey, server.url, top=QUICK_LEASE) as run:
        fault("FLUSHALL on a quiet feed (lost: what it forgot, recorded)", run.memory)
        run.flows(beyond=500)
        stream.pause()
        run.flows(beyond=stream.newest - 1)
        quiet = stream.newest
        fault.begins()
        run.client.flushall()
        fault.noticed(lambda: run.told("queue_forgotten "), 2, "that it forgot, at a renewal of the lease")
        [gap] = wait_until(run.gaps, 60, "the record")
        assert forgotten_by(gap) == range(1, quiet + 1)
        stream.resume()
        fault.ends()
        fault.recovered(lambda: run.newest() > quiet, 2, "the next numbers")
        run.flows(beyond=quiet + 500)
        assert len(run.gaps()) == 1
    fault.compared(run.numbers(), stream.connections, given_up=range(1, quiet + 1))


class Pair:
    """A primary and its replica; ``way`` is the supervisor's way to whoever is the primary now."""

    def __init__(self, stack: ExitStack, make_valkey) -> None:
        self.primary = make_valkey(repl_diskless_sync_delay="0")
        to_primary = stack.enter_context(RedisProxy(self.primary.path))
        self.replica = make_valkey()
        to_replica = stack.enter_context(RedisProxy(self.replica.path))
        self.way = stack.enter_context(RedisProxy(self.primary.path))
        for server, way in ((self.primary, to_primary), (self.replica, to_replica)):
            server.client().config_set("replica-announce-ip", "127.0.0.1")
            server.client().config_set("replica-announce-port", way.port)
        self.client = self.replica.client()
        self.client.replicaof("127.0.0.1", to_primary.port)
        wait_until(lambda: self.client.info("replication").get("master_link_status") == "up", 60, "the replica")

    def switch(self) -> None:
        """What a DNS name, or a proxy before the two, does after a failover."""
        self.way.switch(self.replica.path)
        self.way.cut()


def test_an_orderly_failover_to_a_replica_loses_and_doubles_nothing(tmp_path, make_valkey, fault):
    stream = NumberedStream(rate=RATE)
    with ExitStack() as stack:
        pair = Pair(stack, make_valkey)
        server = stack.enter_context(numbered_server(stream))
        run = stack.enter_context(supervising(tmp_path, pair.replica, server.url, redis_url=pair.way.url))
        fault("failover to a replica without lag", run.memory)
        run.flows(beyond=RATE)
        fault.begins()
        pair.primary.client().execute_command("FAILOVER")
        fault.noticed(lambda: run.told("broker_unavailable .*READONLY"), 60, "the refusal of the old primary")
        pair.switch()
        until = stream.last
        fault.ends()
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
        assert run.gaps() == []
    found = fault.compared(run.numbers(), stream.connections)
    assert len(found.tails) == 1
    assert not run.told("queue_forgotten|lease_lost")


def test_what_a_replica_that_lagged_never_got_is_a_gap_and_everything_after_is_in_order(tmp_path, make_valkey, fault):
    stream = NumberedStream(rate=RATE)
    with ExitStack() as stack:
        pair = Pair(stack, make_valkey)
        server = stack.enter_context(numbered_server(stream))
        run = stack.enter_context(supervising(tmp_path, pair.replica, server.url, redis_url=pair.way.url))
        fault("failover to a replica with lag (lost: what it never had, recorded)", run.memory)
        run.flows(beyond=RATE)
        pair.client.replicaof("NO", "ONE")  # it hears nothing more
        held, primary = run.newest(), pair.primary.client()
        wait_until(lambda: primary.llen("dramatiq:trades") > held + RATE // 2, 60, "what only the primary gets")
        fault.begins()
        pair.primary.kill()
        pair.switch()
        fault.noticed(lambda: run.told("queue_forgotten "), 60, "that it knows less")
        until = stream.last
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
        [gap] = wait_until(run.gaps, 60, "the record")
    forgotten = forgotten_by(gap)
    assert forgotten.start == held + 1
    assert len(forgotten) >= RATE // 2
    fault.compared(run.numbers(), stream.connections, given_up=forgotten)
    assert not run.told("lease_lost")
    assert len(stream.connections) == 1, "the server noticed"
