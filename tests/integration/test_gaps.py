"""gaps.lua on a real server: kept once, told once, bounded, and never half."""

from __future__ import annotations

import json

import dramatiq
import pytest
import redis

from ingest.broker.gaps import MOST_RECORDS, GapActor, GapRecord, gap_message, read_gaps, write_gap
from ingest.broker.keys import Keys
from ingest.errors import BrokerError, BrokerRefused
from tests.support.delivery import queued
from tests.support.gaps import make_record
from tests.support.redis_server import Valkey, on_every_server

KEYS = Keys("dramatiq")
GAPS = "dramatiq:__gaps__..trades"
FILL = GapActor("fill_gap", "trades")


@pytest.fixture
def client(shared_valkey: Valkey) -> redis.Redis:
    return shared_valkey.client()


def write(client: redis.Redis, record: GapRecord, *, told: bool = True) -> bool:
    return write_gap(client, KEYS, "", record, gap_message(record, FILL) if told else None)


def last_seqs(client: redis.Redis) -> list[int]:
    return [record.last_seq for record in read_gaps(client, KEYS, "", ["trades"])]


def test_a_gap_is_kept_and_told_once_however_often_it_is_written(client: redis.Redis) -> None:
    record = make_record(1, position={"BTC/USD": 17}, count=3)

    assert [write(client, record) for _ in range(3)] == [True, False, False]

    assert read_gaps(client, KEYS, "", ["trades"]) == [record]
    [message] = queued(client)
    assert message.actor_name == "fill_gap"
    assert message.args == (record.content(),)


def test_it_is_not_told_again_after_the_worker_took_the_message(client: redis.Redis) -> None:
    write(client, make_record(1))
    client.delete("dramatiq:trades", "dramatiq:trades.msgs")

    assert not write(client, make_record(1))
    assert queued(client) == []


def test_without_an_actor_there_is_only_the_record(client: redis.Redis) -> None:
    assert write(client, make_record(1), told=False)
    assert client.keys() == [GAPS.encode()]
    assert client.ttl(GAPS) == -1


def test_a_full_queue_does_not_hold_it_back(client: redis.Redis) -> None:
    client.rpush("dramatiq:trades", *range(30_000))
    assert write(client, make_record(1))
    assert client.llen("dramatiq:trades") == 30_001


def test_the_newest_are_kept(client: redis.Redis) -> None:
    for number in range(MOST_RECORDS + 5):
        write(client, make_record(number), told=False)
    assert last_seqs(client) == list(range(5, MOST_RECORDS + 5))


def test_after_a_clock_went_back_a_gap_is_still_kept_and_told_once(client: redis.Redis) -> None:
    for number in range(MOST_RECORDS):
        write(client, make_record(10_000 + number), told=False)

    assert [write(client, make_record(1)) for _ in range(2)] == [True, False]

    assert client.llen("dramatiq:trades") == 1
    assert last_seqs(client) == [1, *range(10_001, 10_000 + MOST_RECORDS)]


@pytest.mark.parametrize("key", ["dramatiq:trades", "dramatiq:trades.msgs", GAPS])
def test_a_key_of_the_wrong_type_is_refused_before_anything_is_written(client: redis.Redis, key: str) -> None:
    client.set(key, "not ours")
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        write(client, make_record(1))
    assert client.keys() == [key.encode()]
    client.delete(key)
    assert write(client, make_record(1))
    assert len(queued(client)) == 1


@on_every_server
@pytest.mark.parametrize("command", ["rpush", "hset", "zadd"])
def test_who_may_not_write_all_of_it_writes_nothing_and_may_try_again(valkey: Valkey, command: str) -> None:
    admin = valkey.client()
    admin.execute_command("ACL", "SETUSER", "feeder", "on", ">pw", "~*", "+@all", f"-{command}")
    feeder = redis.Redis.from_url(valkey.url + "?username=feeder&password=pw")
    with pytest.raises(BrokerRefused, match="NOPERM"):
        write(feeder, make_record(1))
    assert admin.keys() == []
    admin.execute_command("ACL", "SETUSER", "feeder", f"+{command}")
    assert write(feeder, make_record(1))
    assert len(queued(admin)) == 1
    feeder.close()


def test_out_of_memory_writes_nothing(valkey: Valkey) -> None:
    client = valkey.client()
    client.config_set("maxmemory", "100kb")  # an empty Redis holds less than a megabyte
    with pytest.raises(BrokerRefused, match="OOM"):
        write(client, make_record(1))
    client.config_set("maxmemory", "0")
    assert client.keys() == []


def test_gaps_of_several_feeds_come_in_order_and_groups_and_namespaces_apart(client: redis.Redis) -> None:
    for number, feed in ((3, "book"), (1, "trades"), (2, "book")):
        write(client, make_record(number, feed=feed), told=False)
    write_gap(client, KEYS, "blue", make_record(4))
    write_gap(client, Keys("other"), "", make_record(5))

    assert [(gap.feed, gap.last_seq) for gap in read_gaps(client, KEYS, "", ["trades", "book", "none"])] == [
        ("trades", 1),
        ("book", 2),
        ("book", 3),
    ]
    assert [gap.last_seq for gap in read_gaps(client, KEYS, "blue", ["trades"])] == [4]
    assert read_gaps(client, KEYS, "", []) == []


def test_since_counts_from_the_end_of_a_gap(client: redis.Redis) -> None:
    long = make_record(0, to_us=make_record(60).to_us)
    for record in (long, make_record(10), make_record(50)):
        write(client, record, told=False)

    assert [gap.last_seq for gap in read_gaps(client, KEYS, "", ["trades"], since_us=make_record(50).to_us)] == [0, 50]


def test_readers_skip_what_they_do_not_understand(client: redis.Redis) -> None:
    write(client, make_record(1), told=False)
    newer = json.dumps({**json.loads(make_record(2).encode()), "v": 2})
    client.zadd(GAPS, {"rubbish": 1, newer: 2})

    assert last_seqs(client) == [1]


def test_an_absent_redis_is_a_broker_error(valkey: Valkey) -> None:
    client = valkey.client()
    valkey.stop()
    with pytest.raises(BrokerError):
        write_gap(client, KEYS, "", make_record(1))
    with pytest.raises(BrokerError):
        read_gaps(client, KEYS, "", ["trades"])


def test_any_worker_can_decode_the_message(client: redis.Redis) -> None:
    write(client, make_record(1))
    [data] = client.hvals("dramatiq:trades.msgs")
    assert dramatiq.Message.decode(data).queue_name == "trades"
