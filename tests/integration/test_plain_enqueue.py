"""``actor.send`` outside a worker process: room and rate, and for the rest what Dramatiq's own broker does."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import RateLimitExceeded
from dramatiq.middleware import Middleware

from ingest.broker import Limits, RateLimitedBroker
from ingest.broker.scripts import ENQUEUE
from tests.support.delivery import made_broker, payloads, queued
from tests.support.lines import Caller
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until

SMALL = {"trades": Limits(high=5, low=1)}


@pytest.fixture(autouse=True)
def _no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dramatiq.cli", raising=False)


@pytest.fixture
def client(shared_valkey: Valkey) -> redis.Redis:
    return shared_valkey.client()


def actor_of(broker: RedisBroker, name: str = "handle") -> dramatiq.Actor[Any, Any]:
    return dramatiq.actor(lambda payload: None, actor_name=name, queue_name="trades", broker=broker)


def in_thread(body: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            body()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


def calls(client: redis.Redis, command: str) -> int:
    return int(client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


class Noting(Middleware):
    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def before_enqueue(self, broker: object, message: dramatiq.Message[Any], delay: int | None) -> None:
        message.options["trace"] = "t1"
        self.seen.append(("before", message.args, "redis_message_id" in message.options, delay))

    def after_enqueue(self, broker: object, message: dramatiq.Message[Any], delay: int | None) -> None:
        self.seen.append(("after", message.args, message.options["trace"], delay))


def test_all_is_as_with_dramatiqs_own_broker(shared_valkey: Valkey, client: redis.Redis) -> None:
    seen, stored, returned = [], [], []
    for kind in (RedisBroker, RateLimitedBroker):
        noting = Noting()
        broker = kind(url=shared_valkey.url, middleware=[noting])
        actor = actor_of(broker)
        sent = [actor.send("now"), actor.send_with_options(args=("later",), delay=60_000, custom="kept")]
        seen.append(noting.seen)
        returned.append([(each.queue_name, sorted(each.options), each.options.get("custom")) for each in sent])
        data = {queue: client.hgetall(f"dramatiq:{queue}.msgs") for queue in ("trades", "trades.DQ")}
        ids = {queue: client.lrange(f"dramatiq:{queue}", 0, -1) for queue in data}
        for message, queue in zip(sent, ("trades", "trades.DQ"), strict=True):
            name = message.options["redis_message_id"].encode()
            assert ids[queue] == [name]
            assert dramatiq.Message.decode(data[queue][name]) == message
            assert name.decode() != message.message_id
        stored.append(sorted(client.keys()))
        client.flushall()
        broker.client.close()
    assert seen[0] == seen[1]
    assert returned[0] == returned[1]
    assert set(stored[0]) - {b"dramatiq:__heartbeats__"} == set(stored[1]) - {b"dramatiq:__heartbeats__"}


def test_without_room_it_waits_and_then_says_so(shared_valkey: Valkey, client: redis.Redis) -> None:
    with made_broker(shared_valkey.url, queues=SMALL, enqueue_timeout=0.3, middleware=[noting := Noting()]) as broker:
        actor = actor_of(broker)
        for number in range(5):
            actor.send(number)
        started = time.monotonic()
        with pytest.raises(RateLimitExceeded, match=r"queue trades is full: 5 messages wait, 5 is its high watermark"):
            actor.send(5)
        assert 0.3 <= time.monotonic() - started < 30
    assert payloads(client) == [0, 1, 2, 3, 4]
    assert [what[0] for what in noting.seen] == ["before", "after"] * 5 + ["before"]


def test_it_goes_through_as_soon_as_there_is_room_and_looks_seldom(shared_valkey: Valkey, client: redis.Redis) -> None:
    with made_broker(shared_valkey.url, queues=SMALL, enqueue_timeout=60.0) as broker:
        actor = actor_of(broker)
        for number in range(5):
            actor.send(number)
        scripts, looks = calls(client, "evalsha"), calls(client, "llen")
        started = time.monotonic()
        thread, errors = in_thread(lambda: actor.send(5))
        # 5 looks take a quarter of a second at least; as many as a loop without waits would make are thousands.
        wait_until(lambda: calls(client, "llen") - looks >= 5, 60, "five looks at the depth")
        looked, seconds = calls(client, "llen") - looks, time.monotonic() - started
        assert looked <= seconds / 0.05 + 3
        client.lpop("dramatiq:trades")
        thread.join(20)
        assert not thread.is_alive()
        assert errors == []
        assert calls(client, "evalsha") - scripts == 2
    assert client.lrange("dramatiq:trades", -1, -1)[0] in client.hkeys("dramatiq:trades.msgs")
    assert client.llen("dramatiq:trades") == 5


def test_many_that_wait_look_one_at_a_time(shared_valkey: Valkey, client: redis.Redis) -> None:
    with made_broker(shared_valkey.url, queues=SMALL, enqueue_timeout=60.0) as broker:
        actor = actor_of(broker)
        for number in range(5):
            actor.send(number)
        scripts = calls(client, "evalsha")
        waiting = [in_thread(lambda: actor.send("waited")) for _ in range(10)]
        wait_until(lambda: calls(client, "evalsha") - scripts == 10, 60, "all to have tried")
        started, looked = time.monotonic(), calls(client, "llen")
        wait_until(lambda: calls(client, "llen") - looked >= 10, 60, "ten looks at the depth")
        assert time.monotonic() - started >= 0.4, "ten of one thread are half a second apart; those of ten come at once"
        client.delete("dramatiq:trades", "dramatiq:trades.msgs")
        wait_until(lambda: client.llen("dramatiq:trades") == 5, 60, "as many as there is room for")
        client.delete("dramatiq:trades", "dramatiq:trades.msgs")
        for thread, errors in waiting:
            thread.join(20)
            assert not thread.is_alive()
            assert errors == []
    assert payloads(client) == ["waited"] * 5


def test_closing_the_broker_ends_every_wait(shared_valkey: Valkey, client: redis.Redis) -> None:
    with made_broker(shared_valkey.url, queues=SMALL, enqueue_timeout=60.0) as broker:
        actor = actor_of(broker)
        for number in range(5):
            actor.send(number)
        scripts, looks = calls(client, "evalsha"), calls(client, "llen")
        waiting = [in_thread(lambda: actor.send(5)) for _ in range(3)]
        wait_until(lambda: calls(client, "evalsha") - scripts == 3, 60, "all to have tried")
        wait_until(lambda: calls(client, "llen") - looks >= 2, 60, "looks at the depth")
        broker.close()
        for thread, errors in waiting:
            thread.join(20)
            [error] = errors
            assert isinstance(error, RateLimitExceeded | redis.ConnectionError), "the latter where its first try was cut off"


def test_the_rate_is_one_bucket_with_that_of_batches(shared_valkey: Valkey) -> None:
    limits = {"trades": Limits(rate=5.0, burst=10)}
    with made_broker(shared_valkey.url, queues=limits, enqueue_timeout=0.0) as broker:
        caller, actor = Caller(broker), actor_of(broker)
        caller.join()
        assert caller.call(0, caller.entries(1, 6)).status == "ok"
        for number in range(4):
            actor.send(number)
        with pytest.raises(RateLimitExceeded, match="queue trades takes 5 messages a second"):
            actor.send(4)
        reply = caller.call(6, caller.entries(7, 20))
        assert reply.status == "rate"
        assert reply.position is not None
        assert reply.position <= 8, "at most what came in meanwhile"
        caller.line.close()


def test_the_rate_is_kept_and_waiting_for_it_is_no_busy_polling(shared_valkey: Valkey, client: redis.Redis) -> None:
    rate, total = 50.0, 40
    with made_broker(shared_valkey.url, queues={"trades": Limits(rate=rate, burst=1)}, enqueue_timeout=60.0) as broker:
        actor = actor_of(broker)
        actor.send("first")
        scripts = calls(client, "evalsha")
        started = time.monotonic()
        threads = [in_thread(lambda: [actor.send("one") for _ in range(total // 4)]) for _ in range(4)]
        for thread, errors in threads:
            thread.join(60)
            assert errors == []
        seconds = time.monotonic() - started
        made = calls(client, "evalsha") - scripts
    assert seconds >= (total - 1) / rate / 1.05
    assert len(queued(client)) == total + 1
    assert made <= 4 * total, "a handful of calls a message"


def limited(valkey: Valkey, **options: Any) -> Any:
    return made_broker(valkey.url, queues=SMALL, enqueue_timeout=0.0, **options)


def test_never_limited_is_what_was_in_a_queue_before_and_what_is_delayed(shared_valkey: Valkey, client: redis.Redis) -> None:
    client.rpush("dramatiq:trades", *range(5))
    with limited(shared_valkey) as broker:
        actor = actor_of(broker)
        again = actor.message("again").copy(options={"redis_message_id": "of its first time"})
        broker.enqueue(again)
        actor.send_with_options(args=("later",), delay=0)
        with pytest.raises(RateLimitExceeded):
            actor.send("new")
    assert client.llen("dramatiq:trades") == 6
    assert client.llen("dramatiq:trades.DQ") == 1


def test_never_limited_is_a_process_with_a_worker_of_any_broker(shared_valkey: Valkey, client: redis.Redis) -> None:
    client.rpush("dramatiq:trades", *range(5))
    with limited(shared_valkey) as broker, made_broker(shared_valkey.url, namespace="other") as others:
        actor = actor_of(broker)
        worker = dramatiq.Worker(others, worker_threads=1, worker_timeout=100)
        worker.start()
        try:
            actor.send("from within")
        finally:
            worker.stop()
        with pytest.raises(RateLimitExceeded):
            actor.send("from without")
    assert client.llen("dramatiq:trades") == 6


def test_a_lost_reply_raises_and_nothing_is_sent_twice(shared_valkey: Valkey, client: redis.Redis) -> None:
    with RedisProxy(shared_valkey.path) as proxy:
        # A client of the user's own, with the library's retries in place.
        own = redis.Redis(host="127.0.0.1", port=proxy.port)
        broker = RateLimitedBroker(client=own, middleware=[])
        actor = actor_of(broker)
        actor.send(1)
        proxy.losing.set()
        with pytest.raises(redis.ConnectionError):
            actor.send(2)
        assert proxy.lost == 1
        proxy.losing.clear()
        actor.send(3)
        own.close()
    assert payloads(client) == [1, 2, 3]


def test_a_stalled_server_times_out_and_takes_the_message_once(valkey: Valkey) -> None:
    client = valkey.client()
    with made_broker(valkey.url + "?socket_timeout=2") as broker:
        actor = actor_of(broker)
        actor.send(1)
        with valkey.stalled(), pytest.raises(redis.TimeoutError):
            actor.send(2)
        wait_until(lambda: client.llen("dramatiq:trades") == 2, 60, "the late execution")
        actor.send(3)
    assert payloads(client) == [1, 2, 3]


def test_a_flushed_script_is_loaded_again(shared_valkey: Valkey, client: redis.Redis) -> None:
    with made_broker(shared_valkey.url) as broker:
        actor = actor_of(broker)
        actor.send(1)
        client.script_flush()
        actor.send(2)
        assert client.script_exists(ENQUEUE.digest) == [True]
    assert payloads(client) == [1, 2]


def test_a_restarted_server_is_found_again(valkey: Valkey) -> None:
    with made_broker(valkey.url) as broker:
        actor = actor_of(broker)
        actor.send(1)
        valkey.stop()
        with pytest.raises(redis.ConnectionError):
            actor.send(2)
        valkey.start()
        actor.send(3)
    assert payloads(valkey.client()) == [3]


def test_a_refusal_is_the_librarys_own_error_and_leaves_nothing(valkey: Valkey) -> None:
    client = valkey.client()
    with made_broker(valkey.url) as broker:
        actor = actor_of(broker)
        client.config_set("maxmemory", "100kb")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            actor.send(1)
        client.config_set("maxmemory", "0")
        client.set("dramatiq:trades", "not ours")
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            actor.send(2)
        assert client.keys() == [b"dramatiq:trades"]
        client.delete("dramatiq:trades")
        actor.send(3)
    assert payloads(client) == [3]
