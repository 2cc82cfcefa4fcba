"""What our consumer does otherwise than Dramatiq's: it is woken, acknowledges in batches, and gives back to the head."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed

from ingest.broker.ledger import LONGEST_AGE
from tests.support.in_process import QUEUE, Bench, Gate
from tests.support.redis_proxy import RedisProxy
from tests.support.waiting import wait_until

#: Far more than any wait of a consumer that is woken, less than `IDLE`.
SOON = 20.0

#: Far more than a push takes, less than a call stays with Redis.
AT_ONCE = 2.0

#: Milliseconds that Dramatiq's threads may sleep: what polls would be noticed.
IDLE = 30_000


def calls(client: redis.Redis, command: str) -> int:
    return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def blocked(client: redis.Redis) -> int:
    return int(client.info("clients")["blocked_clients"])


def wait_until_listening(bench: Bench) -> None:
    wait_until(lambda: blocked(bench.client) == 1, 20, "the consumer to wait")


@pytest.fixture
def restarts_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.1)


def test_a_push_wakes_the_worker_whoever_pushes(ours: Bench) -> None:
    broker = ours.broker()
    actor = ours.actor(broker)
    ours.worker(broker, timeout=IDLE)
    stock = RedisBroker(client=ours.client)
    waits = []
    for number in range(20):
        wait_until_listening(ours)
        sent = time.monotonic()
        stock.enqueue(actor.message(number))
        wait_until(lambda number=number: len(ours.seen) > number, 20, "the message", interval=0.0005)
        waits.append(time.monotonic() - sent)
    assert statistics.median(waits) < AT_ONCE
    assert ours.seen == list(range(20))


def test_waiting_takes_nothing_and_keeps_the_order(ours: Bench) -> None:
    for number in range(3):
        ours.client.rpush("dramatiq:q", number)
    ours.client.blmove("dramatiq:q", "dramatiq:q", 1, "LEFT", "LEFT")
    assert ours.waiting() == ["0", "1", "2"]


@pytest.mark.parametrize("options", [{"wake": False}, {}], ids=["asked for", "no permission"])
def test_it_polls_where_it_may_not_wait(ours: Bench, options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    url = ours.valkey.url
    if not options:  # as below Redis 6.2, which does not know the command
        ours.client.execute_command("ACL", "SETUSER", "worker", "on", ">pw", "~*", "&*", "+@all", "-blmove")
        url += "?username=worker&password=pw"
    broker = ours.broker(url=url, **options)
    actor = ours.actor(broker)
    with caplog.at_level(logging.WARNING):
        ours.worker(broker)
        for number in range(10):
            actor.send(number)
            wait_until(lambda number=number: len(ours.seen) > number, 20, "the message")
    assert calls(ours.client, "blmove") == 0
    assert len([record for record in caplog.records if "is polled" in record.message]) == (0 if options else 1)
    ours.wait_until_empty()


def test_a_redis_without_a_connection_to_spare_is_polled(ours: Bench, caplog: pytest.LogCaptureFixture) -> None:
    broker = ours.broker()
    actor = ours.actor(broker)
    broker.client.ping()
    connections = [broker.client.connection_pool.get_connection() for _ in range(4)]
    for connection in connections:
        broker.client.connection_pool.release(connection)
    # Whoever looked whether the server is up may not be forgotten yet.
    wait_until(lambda: ours.client.info("clients")["connected_clients"] == 1 + len(connections), 20, "our connections alone")
    ours.client.config_set("maxclients", 1 + len(connections))
    ours.worker(broker)
    wait_until(lambda: "is polled, because waiting for its messages failed" in caplog.text, 20, "the refusal")
    actor.send("x")
    wait_until(lambda: ours.seen == ["x"], 20, "the message")
    ours.client.config_set("maxclients", 1000)


def test_an_idle_worker_calls_redis_less_often_than_it_would_poll(ours: Bench) -> None:
    broker = ours.broker(wake=True)
    ours.actor(broker)
    ours.worker(broker, timeout=500)
    wait_until_listening(ours)
    before, began = calls(ours.client, "blmove") + calls(ours.client, "evalsha"), time.monotonic()
    wait_until(lambda: time.monotonic() > began + 5, 30, "some seconds")
    made = calls(ours.client, "blmove") + calls(ours.client, "evalsha") - before
    # Dramatiq: two polls of two queues every 375 ms. Here the queue of delayed messages alone is polled.
    assert made < (time.monotonic() - began) / 0.375 + 6


@pytest.mark.parametrize("timeout", [100, IDLE])
def test_a_waiting_worker_stops_at_once(ours: Bench, timeout: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.broker.worker_queue.CALL", 60.0)  # no call ends by itself meanwhile
    broker = ours.broker()
    consumer = broker.consume(QUEUE, timeout=timeout)
    stopped = threading.Event()

    def run() -> None:
        while not stopped.is_set():
            assert next(consumer) is None

    thread = threading.Thread(target=run)
    thread.start()
    wait_until_listening(ours)
    broker.emit_before("worker_shutdown", dramatiq.Worker(broker))
    wait_until(lambda: blocked(ours.client) == 0, 10, "the wait to end")
    stopped.set()
    thread.join(SOON)
    assert not thread.is_alive()


def test_a_lost_bell_is_polled_for_meanwhile_and_comes_back(ours: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.broker.worker_queue._LOST", 0.5)
    broker = ours.broker()
    actor = ours.actor(broker)
    ours.worker(broker)
    for number in range(5):
        wait_until_listening(ours)
        [bell] = [each for each in ours.client.client_list() if each["cmd"] == "blmove"]
        ours.client.client_kill_filter(_id=bell["id"])
        actor.send(number)
        wait_until(lambda number=number: number in ours.seen, 20, "the message")
    ours.wait_until_empty()


def test_a_stalled_redis_is_a_lost_connection_and_keeps_no_worker_from_stopping(ours: Bench, restarts_soon: None) -> None:
    with RedisProxy(ours.valkey.path) as proxy:
        url = f"{proxy.url}?socket_timeout=1"
        broker = ours.broker(url=url)
        actor = ours.actor(broker)
        worker = ours.worker(broker)
        wait_until_listening(ours)
        proxy.hold()
        actor_of_another = RedisBroker(client=ours.client)
        actor_of_another.enqueue(actor.message("x"))
        wait_until(lambda: ours.seen == ["x"], 20, "it to come over new connections")
        with ours.valkey.stalled():
            assert ours.stop(worker, timeout=60_000) < 40, "not when it is given up"
        proxy.release()


def test_acknowledgements_go_together_and_none_is_older_than_a_moment(ours: Bench) -> None:
    broker = ours.broker()
    gate = Gate()
    gated, actor = ours.actor(broker, gate, name="gate"), ours.actor(broker)
    gated.send("x")
    for number in range(500):
        actor.send(number)
    before, began = (calls(ours.client, "srem"), calls(ours.client, "hdel")), time.monotonic()
    ours.worker(broker, threads=4)
    wait_until(lambda: len(ours.seen) == 500, 20, "all messages")
    # One still runs, so nothing is idle: age alone sends the last of them.
    wait_until(lambda: ours.stored() == 1, SOON, "them to be acknowledged", interval=0.005)
    removed, deleted = calls(ours.client, "srem") - before[0], calls(ours.client, "hdel") - before[1]
    assert removed == 500
    # By the hundred where they come fast; where they come slowly, no more often than they grow old.
    assert deleted < max(100, (time.monotonic() - began) / LONGEST_AGE + 10)
    gate.open()
    ours.wait_until_empty()
    assert ours.fetched(broker) == set()


def test_what_another_worker_has_by_now_is_not_acknowledged(ours: Bench) -> None:
    broker = ours.broker()
    actor = ours.actor(broker)
    actor.send("x")
    consumer = broker.consume(QUEUE, prefetch=1, timeout=100)
    message = next(consumer)
    assert message is not None
    ours.client.delete(f"dramatiq:__acks__.{broker.broker_id}.{QUEUE}")  # as maintenance does with a dead worker's
    consumer.ack(message)
    consumer.close()
    assert ours.stored() == 1


def test_acknowledgements_survive_an_outage(ours: Bench, restarts_soon: None) -> None:
    with RedisProxy(ours.valkey.path) as proxy:
        broker = ours.broker(url=proxy.url)
        gate = Gate()
        actor = ours.actor(broker, gate)
        for number in range(4):
            actor.send(number)
        ours.worker(broker, threads=4)
        wait_until(lambda: len(gate.entered) == 4, 20, "all to run")
        proxy.losing.set()
        proxy.cut()
        gate.open()
        wait_until(lambda: proxy.lost > 0, 20, "a reply to be lost")
        proxy.losing.clear()
        ours.wait_until_empty()
        assert sorted(gate.entered) == list(range(4))


def test_a_full_redis_still_takes_acknowledgements(ours: Bench) -> None:
    broker = ours.broker()
    ours.actor(broker).send("x")
    consumer = broker.consume(QUEUE, prefetch=1, timeout=100)
    message = next(consumer)
    assert message is not None
    ours.client.delete("dramatiq:__heartbeats__")
    ours.client.config_set("maxmemory", 1)
    consumer.ack(message)
    assert ours.stored() == 0
    ours.client.config_set("maxmemory", 0)


def test_what_goes_back_goes_to_the_head_in_its_order(ours: Bench) -> None:
    broker = ours.broker()
    gate = Gate()
    gated, actor = ours.actor(broker, gate, name="gate"), ours.actor(broker)
    gated.send("x")
    for number in range(40):
        actor.send(number)
    order = ours.waiting()
    worker = ours.worker(broker, threads=1)
    wait_until(lambda: gate.entered and len(ours.waiting()) < 40, 20, "some to be fetched")

    def open_once_it_stops() -> None:
        wait_until(lambda: not any(thread.running for thread in worker.workers), 20, "the order to stop")
        gate.open()

    opener = threading.Thread(target=open_once_it_stops)
    opener.start()
    ours.stop(worker)
    opener.join()
    assert ours.waiting() == order[-len(ours.waiting()) :]
    assert len(ours.waiting()) == 40 - len(ours.seen)


def test_priorities_do_not_change_the_order_of_what_goes_back(ours: Bench) -> None:
    broker = ours.broker()
    low, high = ours.actor(broker, name="low", priority=9), ours.actor(broker, name="high", priority=0)
    for actor in (low, high, low, high):
        actor.send("x")
    order = ours.waiting()
    consumer = broker.consume(QUEUE, prefetch=4, timeout=100)
    messages = [next(consumer) for _ in range(3)]
    consumer.requeue([each for each in (messages[1], messages[0], messages[2]) if each is not None])  # the last was not seen yet
    consumer.close()
    assert ours.waiting() == order
    assert ours.fetched(broker) == set()


def test_delayed_messages_that_dramatiq_forgot_after_an_error_come_again(
    ours: Bench, restarts_soon: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, ahead = dramatiq.worker.current_millis, [0]
    monkeypatch.setattr(dramatiq.worker, "current_millis", lambda: real() + ahead[0])
    broker = ours.broker()
    actor = ours.actor(broker)
    ours.worker(broker)
    actor.send_with_options(args=("later",), delay=600_000)
    wait_until(lambda: ours.fetched(broker, f"{QUEUE}.DQ"), 20, "it to be fetched")

    def forgotten() -> bool:
        """Kill all connections, also the one on which this consumer waits: what it asks for is not answered meanwhile."""
        ours.client.client_kill_filter(skipme=True, _type="normal")
        errors = [record for record in caplog.records if "encountered a connection error" in record.message]
        return any(record.name.endswith(f"ConsumerThread({QUEUE}.DQ)") for record in errors)

    ours.client.client_pause(60_000, all=False)
    wait_until(forgotten, 60, "an error of the consumer of delayed messages", interval=0.1)
    ours.client.client_unpause()
    ahead[0] = 600_000
    wait_until(lambda: ours.seen == ["later"], 60, "it to come")
    ours.wait_until_empty()


def test_messages_in_an_answer_that_never_came_come_again(ours: Bench) -> None:
    """Redis counts them as fetched by this worker, which lives, so its heartbeat would keep them from everybody."""
    sender = ours.actor(ours.broker())
    order = [str(sender.send(number).options["redis_message_id"]) for number in range(3)]
    with RedisProxy(ours.valkey.path) as proxy:
        broker = ours.broker(url=proxy.url, wake=False)
        ours.actor(broker)
        broker._max_unpack_size()
        broker.client.script_load(broker.scripts["dispatch"].script)
        proxy.losing.set()
        with pytest.raises(ConnectionClosed):
            next(broker.consume(QUEUE, prefetch=10, timeout=100))
        assert ours.fetched(broker) == {ident.encode() for ident in order}
        proxy.losing.clear()
        consumer = broker.consume(QUEUE, prefetch=10, timeout=100)
        came: list[MessageProxy] = []

        def all_came() -> bool:
            message = next(consumer)
            came.extend([] if message is None else [message])
            return len(came) == 3

        wait_until(all_came, 20, "all of them")
        for message in came:
            consumer.ack(message)
        consumer.close()
        assert sorted(message.options["redis_message_id"] for message in came) == sorted(order)
        assert (ours.stored(), ours.waiting(), ours.fetched(broker)) == (0, [], set())


@pytest.mark.parametrize("prefetch", [1, 3])
def test_a_number_of_the_users_is_never_exceeded(ours: Bench, prefetch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("dramatiq.worker", "ingest.broker.broker"):  # dramatiq_queue_prefetch, read at import
        monkeypatch.setattr(f"{module}.QUEUE_PREFETCH", prefetch)
    broker = ours.broker()
    in_hand: list[int] = []

    def look(value: int) -> None:
        in_hand.append(broker._consumed[QUEUE].ledger.held)
        ours.note(value)

    actor = ours.actor(broker, look)
    for number in range(200):
        actor.send(number)
    ours.worker(broker, threads=1)
    wait_until(lambda: len(ours.seen) == 200, 60, "all messages")
    assert max(in_hand) == prefetch


def test_a_broken_message_takes_no_other_with_it(ours: Bench, restarts_soon: None) -> None:
    broker = ours.broker()
    actor = ours.actor(broker)
    for number in range(3):
        actor.send(number)
        if number == 0:
            ours.client.hset(f"dramatiq:{QUEUE}.msgs", "broken", "{")
            ours.client.rpush(f"dramatiq:{QUEUE}", "broken")
    ours.worker(broker)
    wait_until(lambda: sorted(ours.seen) == [0, 1, 2], 20, "the others")


def test_two_brokers_that_wait_share_what_comes(ours: Bench) -> None:
    brokers = [ours.broker(), ours.broker()]
    actors = [ours.actor(broker) for broker in brokers]
    for broker in brokers:
        ours.worker(broker)
    for number in range(50):
        actors[0].send(number)
    wait_until(lambda: len(ours.seen) == 50, 20, "all messages")
    ours.wait_until_empty()
    assert sorted(ours.seen) == list(range(50))
