"""What Dramatiq documents of its workers holds on its own broker and on ours."""

from __future__ import annotations

import json
import threading
import time

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import current_millis
from dramatiq.middleware import AgeLimit, Middleware, Retries, SkipMessage, TimeLimit
from dramatiq.results import Results
from dramatiq.results.backends import StubBackend

from ingest.broker.dead_letters import DeadLetters
from tests.support.in_process import QUEUE, Bench, Gate
from tests.support.waiting import wait_until


def test_every_message_is_processed_once_and_acknowledged(either: Bench) -> None:
    broker = either.broker()
    actor = either.actor(broker)
    either.worker(broker, threads=4)
    for number in range(300):
        actor.send(number)
    wait_until(lambda: len(either.seen) >= 300, 60, "all messages")
    either.wait_until_empty()
    assert sorted(either.seen) == list(range(300))
    assert either.fetched(broker) == set()


def test_messages_are_processed_in_order_by_one_thread(either: Bench) -> None:
    broker = either.broker()
    actor = either.actor(broker)
    for number in range(200):
        actor.send(number)
    either.worker(broker, threads=1)
    wait_until(lambda: len(either.seen) >= 200, 60, "all messages")
    assert either.seen == list(range(200))


def test_the_worker_joins_when_all_is_done_and_acknowledged(either: Bench) -> None:
    broker = either.broker()
    actor = either.actor(broker)
    worker = either.worker(broker)
    for number in range(20):
        actor.send(number)
    broker.join(QUEUE, timeout=20_000)
    worker.join()
    assert len(either.seen) == 20
    assert either.stored() == 0


def test_an_actor_that_fails_is_retried_and_then_a_dead_letter(either: Bench) -> None:
    broker = either.broker()

    def fail(value: str) -> None:
        either.note(value)
        raise ValueError(value)

    message = either.actor(broker, fail, max_retries=2).send("x")
    either.worker(broker)
    [dead] = wait_until(lambda: either.client.hvals(f"dramatiq:{QUEUE}.XQ.msgs"), 60, "the dead letter")
    assert either.seen == ["x"] * 3
    found = json.loads(dead)
    assert (found["message_id"], found["options"]["retries"]) == (message.message_id, 2)
    assert either.client.zcard(f"dramatiq:{QUEUE}.XQ") == 1
    either.wait_until_empty()
    assert either.fetched(broker) == set()


def test_what_is_given_up_without_a_retry_says_what_it_died_of(ours: Bench) -> None:
    broker = ours.broker(middleware=[AgeLimit(), Retries(min_backoff=1)])

    def expected(value: str) -> None:
        raise LookupError(value)

    ours.actor(broker, expected, throws=LookupError).send("x")
    message = dramatiq.Message(QUEUE, "mistyped", ("y",), {}, {})
    broker.enqueue(message)
    ours.actor(broker, name="aged", max_age=1).send_with_options(args=("z",), message_timestamp=1)
    ours.worker(broker)
    wait_until(lambda: ours.client.zcard(f"dramatiq:{QUEUE}.XQ") == 3, 20, "the dead letters")
    died = {letter.actor: (letter.cause, letter.retries) for letter in DeadLetters(ours.client, "dramatiq").scan()}
    assert died == {
        "handle": ("LookupError: x", 0),
        "mistyped": ("dramatiq.errors.ActorNotFound: mistyped", 0),
        "aged": ("dramatiq.middleware.middleware.SkipMessage: Message age limit exceeded", 0),
    }


def test_a_retry_may_be_asked_for_with_a_delay(either: Bench) -> None:
    broker = either.broker()
    times: list[float] = []

    def ask(_: str) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            raise dramatiq.errors.Retry("later", delay=300)

    either.actor(broker, ask).send("x")
    either.worker(broker)
    wait_until(lambda: len(times) == 2, 60, "the retry")
    assert times[1] - times[0] >= 0.3
    either.wait_until_empty()


def test_a_delayed_message_waits_for_its_time(either: Bench) -> None:
    broker = either.broker()
    actor = either.actor(broker)
    either.worker(broker)
    sent = time.monotonic()
    actor.send_with_options(args=("much later",), delay=600_000)
    actor.send_with_options(args=("later",), delay=500)
    wait_until(lambda: either.seen == ["later"], 60, "the one whose time has come")
    assert time.monotonic() - sent >= 0.5
    actor.send("now")
    wait_until(lambda: either.seen == ["later", "now"], 60, "one that overtakes it")
    wait_until(lambda: either.stored() == 0, 60, "both to be acknowledged")
    wait_until(lambda: either.stored(f"{QUEUE}.DQ") == 1, 60, "none but the one that waits")


def test_delayed_messages_go_back_when_the_worker_stops(either: Bench) -> None:
    broker = either.broker()
    actor = either.actor(broker)
    worker = either.worker(broker)
    for number in range(3):
        actor.send_with_options(args=(number,), delay=60_000)
    wait_until(lambda: len(either.fetched(broker, f"{QUEUE}.DQ")) == 3, 60, "them to be fetched")
    either.stop(worker)
    assert either.stored(f"{QUEUE}.DQ") == len(either.waiting(f"{QUEUE}.DQ")) == 3
    assert either.seen == []


def test_a_message_without_an_actor_is_a_dead_letter(either: Bench) -> None:
    broker = either.broker()
    either.actor(broker)
    broker.enqueue(dramatiq.Message(QUEUE, "nobody", (), {}, {}))
    either.worker(broker)
    wait_until(lambda: either.client.zcard(f"dramatiq:{QUEUE}.XQ") == 1, 60, "the dead letter")
    either.wait_until_empty()


def test_a_message_that_is_too_old_is_skipped(either: Bench) -> None:
    broker = either.broker(middleware=[AgeLimit(max_age=1)])
    either.actor(broker).send("old")
    born = current_millis()
    wait_until(lambda: current_millis() > born + 2, 1, "it to be too old")
    either.worker(broker)
    wait_until(lambda: either.client.zcard(f"dramatiq:{QUEUE}.XQ") == 1, 60, "it to be given up")
    assert either.seen == []


def test_a_message_that_a_middleware_skips_is_done(either: Bench) -> None:
    class Skipping(Middleware):
        def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
            raise SkipMessage("no")

    broker = either.broker(middleware=[Skipping()])
    either.actor(broker).send("x")
    either.worker(broker)
    either.wait_until_empty()
    assert either.seen == []


def test_a_time_limit_ends_a_message(either: Bench) -> None:
    broker = either.broker(middleware=[TimeLimit(interval=50), Retries(max_retries=0)])

    def forever(_: str) -> None:
        while True:
            time.sleep(0.01)

    either.actor(broker, forever, time_limit=200).send("x")
    broker.emit_after("process_boot")
    either.worker(broker)
    wait_until(lambda: either.client.zcard(f"dramatiq:{QUEUE}.XQ") == 1, 60, "the dead letter")


def test_priorities_decide_among_what_was_fetched(either: Bench) -> None:
    broker = either.broker()
    first, second = Gate(), Gate()
    for gate, name in ((first, "first"), (second, "second")):
        either.actor(broker, gate, name=name).send("x")
    either.actor(broker, name="low", priority=100).send("low")
    either.actor(broker, name="high", priority=0).send("high")
    worker = either.worker(broker, threads=2)
    wait_until(lambda: worker.work_queue.qsize() == 2, 60, "all to be fetched, two of them running")
    first.open()  # one thread for both
    wait_until(lambda: len(either.seen) == 2, 60, "both")
    second.open()
    assert either.seen == ["high", "low"]
    either.wait_until_empty()


def test_results_and_pipelines_work(either: Bench) -> None:
    backend = StubBackend()
    broker = either.broker(middleware=[dramatiq.middleware.Pipelines(), Results(backend=backend)])
    add = either.actor(broker, lambda value: value + 1, store_results=True)
    either.worker(broker)
    pipe = dramatiq.pipeline([add.message(1), add.message(), add.message()], broker=broker).run()
    assert pipe.messages[-1].get_result(backend=backend, block=True, timeout=20_000) == 4
    either.wait_until_empty()


def test_a_paused_worker_takes_nothing_until_it_is_resumed(either: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.1)
    broker = either.broker()
    actor = either.actor(broker)
    worker = either.worker(broker)
    worker.pause()
    actor.send("x")
    assert either.seen == []
    assert len(either.waiting()) == 1
    worker.resume()
    wait_until(lambda: either.seen == ["x"], 60, "the message")
    either.wait_until_empty()


def test_what_runs_is_finished_at_a_stop_and_the_rest_goes_back(either: Bench) -> None:
    broker = either.broker()
    gate = Gate()
    actor = either.actor(broker, gate)
    for number in range(30):
        actor.send(number)
    worker = either.worker(broker, threads=2)
    wait_until(lambda: len(gate.entered) == 2, 60, "two to run")
    stopping = threading.Thread(target=either.stop, args=(worker,))
    stopping.start()
    gate.open()
    stopping.join()
    left = either.stored()
    assert left == 30 - len(gate.entered)
    assert len(either.waiting()) == left
    assert either.fetched(broker) == set()


def test_a_dead_workers_messages_are_delivered_again(either: Bench) -> None:
    dead = either.broker(heartbeat_timeout=300)
    either.actor(dead)
    dead.actors["handle"].send("x")
    consumer = dead.consume(QUEUE, prefetch=1, timeout=100)
    assert next(consumer) is not None
    assert either.waiting() == []
    live = either.broker(heartbeat_timeout=300, maintenance_chance=1_000_000)
    either.actor(live)
    either.worker(live)
    wait_until(lambda: either.seen == ["x"], 60, "the message to come again")
    either.wait_until_empty()
    assert dead.broker_id.encode() not in either.client.zrange("dramatiq:__heartbeats__", 0, -1)


def test_a_worker_shows_that_it_lives_while_it_has_nothing_to_do(either: Bench) -> None:
    broker = either.broker(heartbeat_timeout=1000)
    either.actor(broker)
    either.worker(broker)
    wait_until(lambda: either.client.zscore("dramatiq:__heartbeats__", broker.broker_id), 60, "a heartbeat")
    assert_lives(either, broker, 3)


def test_a_worker_shows_that_it_lives_while_a_message_runs_at_its_stop(either: Bench) -> None:
    broker = either.broker(heartbeat_timeout=1000)
    gate = Gate()
    either.actor(broker, gate).send("x")
    worker = either.worker(broker)
    wait_until(lambda: gate.entered, 60, "the message to run")
    stopping = threading.Thread(target=either.stop, args=(worker,))
    stopping.start()
    assert_lives(either, broker, 3)
    gate.open()
    stopping.join()
    assert either.stored() == 0


def assert_lives(bench: Bench, broker: RedisBroker, seconds: float) -> None:
    """The last sign of life is never older than its timeout, but for what this thread itself was held up by a busy machine."""
    last = time.monotonic()
    end = last + seconds
    while last < end:
        asked = current_millis()
        score = bench.client.zscore("dramatiq:__heartbeats__", broker.broker_id)
        assert score is not None
        held_up, last = time.monotonic() - last, time.monotonic()
        assert asked - score < 1000 + held_up * 1000
        time.sleep(0.05)  # between two looks


def test_an_outage_of_redis_ends_no_worker(either: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.1)
    broker = either.broker()
    actor = either.actor(broker)
    either.worker(broker)
    actor.send("before")
    wait_until(lambda: either.seen == ["before"], 60, "the first")
    either.valkey.stop()
    either.valkey.start()
    either.client = either.valkey.client()
    wait_until(lambda: _sent(actor), 60, "Redis to be back")
    wait_until(lambda: "after" in either.seen, 60, "the second")
    either.wait_until_empty()


def _sent(actor: dramatiq.Actor[..., object]) -> bool:
    try:
        actor.send("after")
    except Exception:
        return False
    return True
