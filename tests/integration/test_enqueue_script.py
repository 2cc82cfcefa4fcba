"""enqueue.lua and lease.lua on a real server: idempotence, order, room, and what is left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.limits import Limits
from ingest.broker.packing import BatchPacker, Position
from ingest.broker.scripts import ENQUEUE
from ingest.errors import BrokerRefused
from settings.wire import FORMAT
from tests.support.delivery import made_broker, payloads, queued
from tests.support.lines import Caller
from tests.support.redis_server import Valkey, on_every_server

pytestmark = on_every_server

THIRTY_DAYS = 30 * 86_400


@pytest.fixture
def broker(shared_valkey: Valkey) -> Iterator[RateLimitedBroker]:
    with made_broker(shared_valkey.url, queues={"small": Limits(high=5, low=2)}) as made:
        yield made


@pytest.fixture
def client(shared_valkey: Valkey) -> redis.Redis:
    return shared_valkey.client()


@pytest.fixture
def caller(broker: RateLimitedBroker) -> Iterator[Caller]:
    made = Caller(broker)
    yield made
    made.line.close()


def test_a_batch_arrives_as_dramatiq_messages_in_order(caller: Caller, client: redis.Redis) -> None:
    assert caller.join() == 0
    reply = caller.call(0, caller.entries(1, 1000))
    assert (reply.status, reply.position, reply.queue, reply.depth) == ("ok", 1000, "trades", 1000)
    messages = queued(client)
    assert [message.args for message in messages] == [(number,) for number in range(1, 1001)]
    assert all(message.options["redis_message_id"] == message.message_id for message in messages)
    assert caller.held(client) == "1000"


def test_more_than_luas_stack_takes_in_one_call(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    assert caller.call(0, caller.entries(1, 9001)).position == 9001
    assert payloads(client) == list(range(1, 9002))


def test_the_same_call_again_changes_nothing(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    batch = caller.entries(1, 3)
    assert caller.call(0, batch).status == "ok"
    again = caller.call(0, batch)
    assert (again.status, again.position) == ("gap", None)
    assert payloads(client) == [1, 2, 3]


def test_calls_in_flight_follow_each_other_and_one_out_of_place_is_a_gap(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    caller.send(0, caller.entries(1, 2))
    caller.send(5, caller.entries(6, 7))
    caller.send(2, caller.entries(3, 4))
    assert [caller.receive().status for _ in range(3)] == ["ok", "gap", "ok"]
    assert payloads(client) == [1, 2, 3, 4]


def test_a_call_of_an_earlier_join_is_void_however_late_it_comes(
    broker: RateLimitedBroker, caller: Caller, client: redis.Redis
) -> None:
    caller.join()
    late = broker.line("trades")
    late.join(caller.producer, None)
    caller.join()
    late.enqueue_batch(caller.producer, 0, 3, caller.entries(1, 3))
    reply = late.reply(10)
    late.close()
    assert reply is not None
    assert reply.status == "gap"
    assert caller.call(0, caller.entries(1, 3)).status == "ok"
    assert payloads(client) == [1, 2, 3]


def test_a_join_tells_how_far_it_came_and_an_unknown_producer_is_not_hidden(caller: Caller, client: redis.Redis) -> None:
    assert caller.join(base=None) is None
    assert client.exists(caller.key) == 0
    assert caller.join(base=7) == 7
    caller.call(7, caller.entries(8, 9))
    assert caller.join(base=None) == 9
    assert caller.join(base=0) == 9


def test_numbers_may_be_missing_and_the_position_counts_them_as_dealt_with(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    with_hole = caller.entries(1, 2) + caller.entries(5, 6)
    assert caller.call(0, with_hole, last=8).position == 8
    assert caller.call(8, caller.entries(9, 9)).status == "ok"
    assert payloads(client) == [1, 2, 5, 6, 9]


def test_a_full_queue_takes_what_fits_and_says_where_it_stopped(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    reply = caller.call(0, caller.entries(1, 8, "small"))
    assert (reply.status, reply.position, reply.queue, reply.depth) == ("full", 5, "small", 5)
    again = caller.call(5, caller.entries(6, 8, "small"))
    assert (again.status, again.position) == ("full", 5)
    client.lpop("dramatiq:small", 4)
    assert caller.call(5, caller.entries(6, 8, "small")).status == "ok"


def test_cut_short_at_a_hole_the_position_is_just_before_what_was_not_admitted(caller: Caller) -> None:
    caller.join()
    with_hole = caller.entries(1, 5, "small") + caller.entries(9, 9, "small")
    assert caller.call(0, with_hole).position == 8


def test_what_is_admitted_over_two_queues_is_a_prefix(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    alternating = [entry for n in range(1, 21) for entry in caller.entries(n, n, "small" if n % 2 else "trades")]
    reply = caller.call(0, alternating)
    assert (reply.status, reply.position, reply.queue) == ("full", 10, "small")
    assert payloads(client, "small") == [1, 3, 5, 7, 9]
    assert payloads(client) == [2, 4, 6, 8, 10]


def test_stops_at_an_empty_first_run_too(caller: Caller, client: redis.Redis) -> None:
    client.rpush("dramatiq:small", *range(5))
    caller.join()
    reply = caller.call(0, caller.entries(1, 1, "small") + caller.entries(2, 2))
    assert (reply.status, reply.position) == ("full", 0)
    assert payloads(client) == []


@pytest.mark.parametrize("key", ["dramatiq:trades", "dramatiq:trades.msgs", "dramatiq:__rate__.trades"])
def test_a_key_of_the_wrong_type_is_refused_before_anything_is_written(
    shared_valkey: Valkey, client: redis.Redis, key: str
) -> None:
    with made_broker(shared_valkey.url, queues={"trades": Limits(rate=100.0)}) as broker:
        caller = Caller(broker)
        caller.join()
        client.xadd(key, {"not": "ours"})
        reply = caller.call(0, caller.entries(1, 1, "other") + caller.entries(2, 2))
        assert reply.status == "error"
        assert reply.error is not None
        assert reply.error.code == "WRONGTYPE"
        assert client.llen("dramatiq:other") == 0
        client.delete(key)
        assert caller.call(0, caller.entries(1, 2)).status == "ok"
        caller.line.close()


def test_a_feed_key_of_the_wrong_type_refuses_the_join_in_words(caller: Caller, client: redis.Redis) -> None:
    client.set(caller.key, "not ours")
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        caller.join()


def test_what_is_left_expires_unless_the_feed_is_led(caller: Caller, client: redis.Redis) -> None:
    caller.join()
    assert client.hget(caller.key, "format") == str(FORMAT).encode()
    assert THIRTY_DAYS - 60 < client.ttl(caller.key) <= THIRTY_DAYS
    client.expire(caller.key, 1000)
    caller.call(0, caller.entries(1, 1))
    assert client.ttl(caller.key) > 1000
    client.hset(caller.key, mapping={"leader": "somebody"})
    client.persist(caller.key)
    caller.join()
    caller.call(1, caller.entries(2, 2))
    assert client.ttl(caller.key) == -1


def test_a_producer_that_takes_leave_leaves_nothing_and_others_stay(broker: RateLimitedBroker, client: redis.Redis) -> None:
    one, other = Caller(broker), Caller(broker)
    one.join()
    other.join()
    one.line.done(one.producer)
    assert client.hkeys(one.key) == [b"format", other.field.encode()]
    other.line.done(other.producer)
    assert client.exists(one.key) == 0
    one.line.close()
    other.line.close()


def test_every_key_is_in_the_namespace(shared_valkey: Valkey, client: redis.Redis) -> None:
    with made_broker(shared_valkey.url, namespace="staging", limits=Limits(rate=1.0, burst=60)) as broker:
        caller = Caller(broker)
        caller.join()
        caller.call(0, caller.entries(1, 3))
        caller.line.close()
    assert {key.decode() for key in client.scan_iter()} == {
        "staging:trades",
        "staging:trades.msgs",
        "staging:__rate__.trades",
        "staging:__feed__..trades",
    }
    assert payloads(client, namespace="staging") == [1, 2, 3]
    assert 0 < client.pttl("staging:__rate__.trades") <= 61_000


def test_the_script_is_as_powerful_as_leases_need(broker: RateLimitedBroker, caller: Caller, client: redis.Redis) -> None:
    caller.join()
    prefix = client.hget(caller.key, caller.field).decode().removesuffix("0")
    client.hset(caller.key, "leader", "the-other")
    packer = BatchPacker(ENQUEUE.digest, caller.key, broker.keys, broker.limits)

    def call(leader: str, field: str) -> bytes:
        at = Position(leader, field, prefix if field else "", 0, 2)
        connection = broker.client.connection_pool.get_connection()
        connection.send_packed_command([packer.pack(at, ("trades",), caller.entries(1, 2))])
        status: bytes = connection.read_response()[0]
        broker.client.connection_pool.release(connection)
        return status

    assert call("me", caller.field) == b"fenced"
    assert payloads(client) == []
    assert call("the-other", caller.field) == b"ok"
    assert call("", "") == b"ok"
    assert caller.held(client) == "2"
