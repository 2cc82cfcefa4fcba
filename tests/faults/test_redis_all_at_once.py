"""Everything that Redis can do, one after the other and on top of each other, at random: the sum is no worse than its parts."""

import random
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest
import redis

from tests.support.fault_feeds import QUEUE
from tests.support.fault_run import KEY, supervising
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.redis_proxy import RedisProxy

#: Seconds of trouble.
LASTING = 12.0

RATE = 2000

#: A short lease, so that renewals meet the trouble too; no second supervisor is there to take it.
TOP = f"{QUEUE}[supervisor]\nlease = 1\n"


class Trouble:
    """Each method is one kind, for the time of its block; those that are over at once last no longer than they take."""

    def __init__(self, valkey, proxy):
        self._valkey = valkey
        self._proxy = proxy
        self._client = valkey.client()

    @contextmanager
    def kill_connections(self):
        self._client.client_kill_filter(_type="normal", skipme=True)
        yield

    @contextmanager
    def lose_replies(self):
        self._proxy.losing.set()
        yield
        self._proxy.losing.clear()

    @contextmanager
    def carry_out_late(self):
        """The connections there are end, and what was asked on them is carried out when the block is left."""
        self._proxy.hold()
        time.sleep(0.02)  # in which something is asked
        self._proxy.abandon()
        yield
        self._proxy.release()

    @contextmanager
    def stand_still(self):
        with self._valkey.stalled():
            time.sleep(0.2)  # how long it stands still
        yield

    @contextmanager
    def restart(self):
        self._valkey.kill()
        self._valkey.start()
        yield

    @contextmanager
    def flush_scripts(self):
        self._client.script_flush()
        yield

    @contextmanager
    def no_memory(self):
        self._client.config_set("maxmemory", "1mb")
        yield
        self._client.config_set("maxmemory", "0")

    @contextmanager
    def read_only(self):
        self._client.replicaof("127.0.0.1", "1")
        yield
        self._client.replicaof("NO", "ONE")

    @contextmanager
    def wrong_type(self):
        done = False
        with suppress(redis.RedisError), self._client.pipeline(transaction=True) as pipe:  # it may be read-only, or full
            pipe.rename(KEY, "put:away")
            pipe.set(KEY, "not ours")
            done = all(pipe.execute())
        yield
        if done:
            self._client.rename("put:away", KEY)


KINDS = [name for name in vars(Trouble) if not name.startswith("_")]


def trouble_at_random(chance, trouble):
    """Begin one kind after the other, up to three at a time, and end them last in, first out."""
    deadline = time.monotonic() + LASTING
    while time.monotonic() < deadline:
        with ExitStack() as stack:
            for kind in chance.sample(KINDS, chance.randint(1, 3)):
                stack.enter_context(getattr(trouble, kind)())
                time.sleep(chance.uniform(0, 0.15))  # how long one has come before the next
        time.sleep(chance.uniform(0, 0.4))  # enough to come through, or not


@pytest.mark.parametrize("seed", [1, 2])
def test_all_of_it_at_random_loses_and_doubles_nothing(tmp_path, make_valkey, fault, seed):
    valkey = make_valkey(appendonly="yes", appendfsync="always")
    stream = NumberedStream(rate=RATE)
    with (
        RedisProxy(valkey.path) as proxy,
        numbered_server(stream) as server,
        supervising(tmp_path, valkey, server.url, redis_url=proxy.url, top=TOP) as run,
    ):
        fault(f"nine kinds of trouble with Redis at random for {LASTING:.0f} s ({seed})", run.memory)
        run.flows(beyond=RATE // 2)
        fault.begins()
        trouble_at_random(random.Random(seed), Trouble(valkey, proxy))
        fault.ends()
        until = stream.last
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
        stream.pause()
        run.flows(beyond=stream.newest - 1)
        assert run.client.hlen(f"{KEY}.msgs") == run.depth(), "messages that no list names"
    found = fault.compared(run.numbers(), stream.connections)
    assert len(found.tails) == 1, "the server noticed"
    assert run.told("broker_unavailable ") > 3, "too little trouble"
    assert not run.told("queue_forgotten|lease_lost|message_rejected|gap_found|feed_restarted")
