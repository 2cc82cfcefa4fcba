"""A feed's intake, backlog and publisher with a real Redis: into the queue, once, in order, within bounds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import dramatiq
import pytest
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage, Middleware
from dramatiq.worker import Worker

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.limits import Limits
from ingest.clock import wall_us
from ingest.connection.session import To
from ingest.delivery.core import Pace
from ingest.delivery.intake import Intake
from settings.wire import Frame
from tests.support.delivery import leading, made_broker, make_envelope, memory_backlog, payloads, publishing, queued
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until


@pytest.fixture
def client(shared_valkey: Valkey) -> redis.Redis:
    return shared_valkey.client()


@pytest.fixture
def broker(shared_valkey: Valkey) -> Iterator[RateLimitedBroker]:
    with made_broker(shared_valkey.url) as made:
        yield made


@pytest.mark.parametrize("window", [1, 2, 4])
def test_a_stream_arrives_once_and_in_order(shared_valkey: Valkey, client: redis.Redis, window: int) -> None:
    with publishing(shared_valkey.url, pace=Pace(window=window)) as feed:
        feed.put_numbers(1, 8000, batch=137)
        assert feed.drain(60)
    assert payloads(client) == list(range(1, 8001))
    assert feed.publisher.enqueued == feed.intake.emitted == 8000
    assert feed.events == []
    assert client.ttl("dramatiq:__feed__..trades") > 2_500_000, "an orderly end leaves a trace for 30 days at most"


def test_one_payload_leaves_at_once_and_waits_for_no_batch(broker: RateLimitedBroker, client: redis.Redis) -> None:
    with leading(broker) as feed:
        for number in range(1, 6):
            feed.put(number)
            wait_until(lambda expected=number: client.llen("dramatiq:trades") == expected, 10, "the message")


def test_an_unmodified_dramatiq_worker_gets_payload_and_frame(shared_valkey: Valkey, broker: RateLimitedBroker) -> None:
    got: list[tuple[object, Frame | None]] = []
    stock = RedisBroker(url=shared_valkey.url, middleware=[CurrentMessage()])

    def handle(payload: object) -> None:
        message = CurrentMessage.get_current_message()
        assert message is not None
        got.append((payload, Frame.of(message.options, message.message_id)))

    dramatiq.actor(handle, broker=stock, queue_name="trades", actor_name="handle")
    before = wall_us()
    worker = Worker(stock, worker_threads=1)
    worker.start()
    try:
        with leading(broker) as feed:
            feed.put("text", {"json": [1.5]}, b"\x00")
            wait_until(lambda: len(got) == 3, 20, "three calls of the actor")
    finally:
        worker.stop()
        stock.client.connection_pool.disconnect()
    assert [payload for payload, _ in got] == ["text", {"json": [1.5]}, "AA=="]
    frames = [frame for _, frame in got]
    assert [frame.seq for frame in frames if frame] == [1, 2, 3]
    assert all(frame and frame.feed == "trades" and frame.producer == feed.producer for frame in frames)
    assert all(frame and before <= frame.received_us <= wall_us() for frame in frames)


def test_our_own_broker_consumes_and_enqueues_like_any_other(broker: RateLimitedBroker) -> None:
    got: list[object] = []

    @dramatiq.actor(broker=broker, queue_name="trades", actor_name="handle")
    def handle(payload: object) -> None:
        got.append(payload)

    worker = Worker(broker, worker_threads=1)
    worker.start()
    try:
        with leading(broker) as feed:
            feed.put("from a feed")
            handle.send("from a program")
            wait_until(lambda: len(got) == 2, 20, "both messages")
    finally:
        worker.stop()
    assert set(got) == {"from a feed", "from a program"}


def test_middleware_is_called_around_every_message_as_dramatiq_would(shared_valkey: Valkey, client: redis.Redis) -> None:
    class Tracer(Middleware):
        def __init__(self) -> None:
            self.after: list[str] = []

        def before_enqueue(self, broker: object, message: dramatiq.Message[object], delay: object) -> None:
            message.options["trace"] = f"t{message.args[0]}"

        def after_enqueue(self, broker: object, message: dramatiq.Message[object], delay: object) -> None:
            self.after.append(message.options["trace"])

    tracer = Tracer()
    with made_broker(shared_valkey.url, middleware=[tracer]) as broker:
        hooks = broker.enqueue_hooks()
        with leading(broker, after=hooks.after) as feed:
            intake = Intake(make_envelope, feed.backlog, label="t", publish=print, before=hooks.before)
            chain = feed.backlog.first
            assert chain is not None
            intake.enter(chain)
            intake.deliver([1, 2, 3], wall_us())
            assert feed.drain(10)
    assert [message.options["trace"] for message in queued(client)] == ["t1", "t2", "t3"]
    assert tracer.after == ["t1", "t2", "t3"]


def test_a_queue_without_workers_stays_within_its_watermark_and_then_gets_everything(
    shared_valkey: Valkey, client: redis.Redis
) -> None:
    total = 3000
    taken: list[bytes] = []
    with publishing(shared_valkey.url, limits=Limits(high=500, low=200), backlog=memory_backlog(1000, 1 << 20)) as feed:
        feed.put_numbers(1, total)
        wait_until(lambda: client.llen("dramatiq:trades") == 500, 10, "a full queue")
        assert not feed.backlog.has_room()
        deepest = 500
        while len(taken) < total:
            taken += client.lpop("dramatiq:trades", 150) or []
            deepest = max(deepest, client.llen("dramatiq:trades"))
        assert deepest == 500
        feed.emptied()
    data = client.hgetall("dramatiq:trades.msgs")
    assert [dramatiq.Message.decode(data[each]).args[0] for each in taken] == list(range(1, total + 1))
    assert feed.events == []


def test_at_the_low_watermark_it_goes_on_and_not_before(shared_valkey: Valkey, client: redis.Redis) -> None:
    def polls() -> int:
        return int(client.info("commandstats")["cmdstat_llen"]["calls"])

    with publishing(shared_valkey.url, limits=Limits(high=100, low=40)) as feed:
        feed.put_numbers(1, 200)
        wait_until(lambda: feed.publisher.enqueued == 100, 10, "a full queue")
        client.ltrim("dramatiq:trades", 59, -1)
        before = polls()
        wait_until(lambda: polls() > before + 3, 10, "polls above the mark")
        assert feed.publisher.enqueued == 100
        client.ltrim("dramatiq:trades", 1, -1)
        wait_until(lambda: feed.publisher.enqueued == 160, 10, "messages up to the high mark")


def test_a_full_queue_holds_back_its_feed_in_order_and_no_other_feed(shared_valkey: Valkey, client: redis.Redis) -> None:
    small: list[bytes] = []
    with ExitStack() as stack:
        broker = stack.enter_context(made_broker(shared_valkey.url, queues={"small": Limits(high=3, low=1)}))
        routed, other = (stack.enter_context(leading(broker, name)) for name in ("routed", "other"))
        routed.put(*(To(number, queue="small" if number % 2 else "large") for number in range(1, 41)))
        other.put_numbers(1, 500)
        other.emptied()
        wait_until(lambda: routed.publisher.enqueued == 6, 10, "what fits")
        assert payloads(client, "small") == [1, 3, 5]
        assert payloads(client, "large") == [2, 4, 6]
        while len(routed.backlog):
            small += client.lpop("dramatiq:small", 1) or []
    small += client.lrange("dramatiq:small", 0, -1)
    data = client.hgetall("dramatiq:small.msgs")
    assert [dramatiq.Message.decode(data[each]).args[0] for each in small] == list(range(1, 41, 2))
    assert payloads(client, "large") == list(range(2, 41, 2))
    assert payloads(client) == list(range(1, 501))


def test_many_feeds_fill_one_queue_each_in_its_order(broker: RateLimitedBroker, client: redis.Redis) -> None:
    with ExitStack() as stack:
        feeds = [stack.enter_context(leading(broker, f"feed{number}")) for number in range(5)]
        threads = [threading.Thread(target=feed.put_numbers, args=(1, 1000, 11)) for feed in feeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert all(feed.drain(30) for feed in feeds)
    by_producer: dict[str, list[object]] = {}
    for message in queued(client):
        by_producer.setdefault(message.message_id[:23], []).append(message.args[0])
    assert by_producer == {feed.producer: list(range(1, 1001)) for feed in feeds}


def test_room_is_told_to_the_feed_when_redis_has_taken_enough(broker: RateLimitedBroker) -> None:
    room = threading.Event()
    with leading(broker, backlog=memory_backlog(100, 1 << 20, on_room=room.set)) as feed:
        feed.put_numbers(1, 150, batch=150)
        assert room.wait(10)
        assert feed.intake.has_room()
