"""What Dramatiq documents of callbacks, groups, results, rate limiters and signals holds on its own broker and on ours."""

from __future__ import annotations

import threading
import time
from typing import Any

import dramatiq
import pytest
from dramatiq.errors import QueueJoinTimeout
from dramatiq.middleware import (
    AsyncIO,
    Callbacks,
    CurrentMessage,
    GroupCallbacks,
    Middleware,
    Pipelines,
    Retries,
    Shutdown,
    ShutdownNotifications,
)
from dramatiq.rate_limits import ConcurrentRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as LimiterBackend
from dramatiq.results import ResultFailure, Results
from dramatiq.results.backends import RedisBackend as ResultBackend

from tests.support.in_process import QUEUE, Bench, Gate
from tests.support.waiting import wait_until

#: Milliseconds until a result must be there.
RESULT_TIMEOUT = 60_000


def retries() -> Retries:
    return Retries(min_backoff=1, max_backoff=1)


def results_of(bench: Bench) -> Results:
    return Results(backend=ResultBackend(client=bench.client), store_results=True)


def test_callbacks_are_told_of_success_and_of_each_failure(either: Bench) -> None:
    broker = either.broker(middleware=[Callbacks(), retries()])
    told: list[tuple[str, str, object]] = []
    either.actor(broker, lambda message, result: told.append(("done", message["message_id"], result)), name="done")
    either.actor(broker, lambda message, error: told.append(("failed", message["message_id"], error)), name="failed")

    def divide(by: int) -> float:
        return 6 / by

    divides = either.actor(broker, divide, on_success="done", on_failure="failed", max_retries=1)
    either.worker(broker)
    good, bad = divides.send(3).message_id, divides.send(0).message_id
    wait_until(lambda: len(told) == 3, 60, "every callback")
    error = {"type": "ZeroDivisionError", "message": "division by zero"}
    assert sorted(told, key=str) == sorted([("done", good, 2.0), ("failed", bad, error), ("failed", bad, error)], key=str)
    either.wait_until_empty()


def test_whoever_is_named_is_told_of_exhausted_retries(either: Bench) -> None:
    broker = either.broker()
    told: list[tuple[list[int], object]] = []
    either.actor(broker, lambda message, detail: told.append((message["args"], detail)), name="exhausted")

    def fail(_: int) -> None:
        raise ValueError

    either.actor(broker, fail, max_retries=1, on_retry_exhausted="exhausted").send(7)
    either.worker(broker)
    wait_until(lambda: told, 60, "it to be told")
    assert told == [([7], {"retries": 1, "max_retries": 1})]
    either.wait_until_empty()
    assert either.client.zcard(f"dramatiq:{QUEUE}.XQ") == 1


def test_retry_when_and_throws_decide(either: Bench) -> None:
    broker = either.broker()

    def fail(name: str) -> None:
        either.note(name)
        raise LookupError(name)

    twice = either.actor(broker, fail, name="twice", retry_when=lambda retried, error: retried < 1)
    once = either.actor(broker, fail, name="once", throws=LookupError)
    twice.send("twice")
    once.send("once")
    either.worker(broker)
    wait_until(lambda: either.client.zcard(f"dramatiq:{QUEUE}.XQ") == 2, 60, "both dead letters")
    assert sorted(either.seen) == ["once", "twice", "twice"]
    either.wait_until_empty()


def test_a_group_has_all_results_and_calls_back_once(either: Bench) -> None:
    callbacks = GroupCallbacks(LimiterBackend(client=either.client))
    broker = either.broker(middleware=[results_of(either), callbacks, retries()])
    completed = either.actor(broker, lambda: either.note("completed"), name="completed")
    tries: list[int] = []

    def double(value: int) -> int:
        tries.append(value)
        if tries.count(value) < 2:
            raise ValueError(value)
        return value * 2

    doubles = either.actor(broker, double)
    either.worker(broker, threads=4)
    group = dramatiq.group([doubles.message(number) for number in range(8)], broker=broker)
    group.add_completion_callback(completed.message())
    group.run()
    assert sorted(group.get_results(block=True, timeout=RESULT_TIMEOUT)) == [0, 2, 4, 6, 8, 10, 12, 14]
    either.wait_until_empty()
    assert either.seen == ["completed"]


def test_a_pipeline_hands_on_its_results_and_may_wait_between(either: Bench) -> None:
    broker = either.broker(middleware=[Pipelines(), results_of(either), retries()])
    add = either.actor(broker, lambda *values: sum(values), name="add")
    either.worker(broker)
    fourth = add.message_with_options(args=(4,), pipe_ignore=True)
    pipe = dramatiq.pipeline([add.message(1, 1), add.message(2), add.message(3), fourth, add.message(5)], broker=broker)
    pipe.run(delay=50)
    assert list(pipe.get_results(block=True, timeout=RESULT_TIMEOUT)) == [2, 4, 7, 4, 9]
    either.wait_until_empty()


def test_a_failure_is_a_result_too(either: Bench) -> None:
    broker = either.broker(middleware=[results_of(either), Retries(max_retries=0)])

    def fail() -> None:
        raise LookupError("nowhere")

    message = either.actor(broker, fail).send()
    either.worker(broker)
    with pytest.raises(ResultFailure, match="LookupError: nowhere"):
        message.get_result(backend=ResultBackend(client=either.client), block=True, timeout=RESULT_TIMEOUT)


def test_a_rate_limiter_lets_so_many_run_and_the_others_come_again(either: Bench) -> None:
    broker = either.broker()
    limiter = ConcurrentRateLimiter(LimiterBackend(client=either.client), "one-at-a-time", limit=1)
    running, most = [0], [0]

    def work(number: int) -> None:
        with limiter.acquire():
            running[0] += 1
            most[0] = max(most[0], running[0])
            time.sleep(0.005)  # so that there is something to collide with
            running[0] -= 1
        either.note(number)

    works = either.actor(broker, work, max_retries=None)
    for number in range(12):
        works.send(number)
    either.worker(broker, threads=4)
    wait_until(lambda: sorted(either.seen) == list(range(12)), 60, "all of them")
    assert most == [1]
    either.wait_until_empty()


def test_a_stop_interrupts_who_asks_for_it_and_the_message_comes_again(either: Bench) -> None:
    broker = either.broker(middleware=[ShutdownNotifications(), Retries(min_backoff=60_000, max_backoff=60_000)])
    entered = threading.Event()
    ends: list[str] = []

    def run(_: str) -> None:
        entered.set()
        try:
            while True:
                time.sleep(0.01)
        except Shutdown:
            ends.append("interrupted")
            raise

    either.actor(broker, run, notify_shutdown=True).send("x")
    worker = either.worker(broker)
    assert entered.wait(60)
    either.stop(worker)
    assert ends == ["interrupted"]
    assert (either.stored(), either.stored(f"{QUEUE}.DQ")) == (0, 1)
    assert len(either.waiting(f"{QUEUE}.DQ")) == 1


def test_an_asynchronous_actor_is_awaited(either: Bench) -> None:
    broker = either.broker(middleware=[AsyncIO(), retries()])

    async def work(number: int) -> None:
        either.note(number)
        if either.seen.count(number) < 2:
            raise ValueError(number)

    works = either.actor(broker, work)
    for number in range(5):
        works.send(number)
    either.worker(broker)
    wait_until(lambda: len(either.seen) == 10, 60, "all of them, twice")
    either.wait_until_empty()
    assert sorted(either.seen) == sorted([*range(5), *range(5)])


class Watching(Middleware):
    """Notes the signals of each message by its first argument and the queue that it is in."""

    def __init__(self) -> None:
        self.signals: dict[tuple[Any, str], list[str]] = {}

    def _note(self, name: str, message: dramatiq.MessageProxy) -> None:
        self.signals.setdefault((message.args[0], message.queue_name), []).append(name)

    def has_ended(self, name: Any, queue: str) -> bool:
        signals = self.signals[name, queue]
        return "after_enqueue" in signals and ("after_ack" in signals or "after_nack" in signals)

    def before_enqueue(self, broker: dramatiq.Broker, message: Any, delay: int | None) -> None:
        self._note("before_enqueue", message)

    def after_enqueue(self, broker: dramatiq.Broker, message: Any, delay: int | None) -> None:
        self._note("after_enqueue", message)

    def before_delay_message(self, broker: dramatiq.Broker, message: Any) -> None:
        self._note("before_delay_message", message)

    def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
        self._note("before_process_message", message)

    def after_process_message(
        self, broker: dramatiq.Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        self._note(f"after_process_message({exception!r})", message)

    def before_ack(self, broker: dramatiq.Broker, message: Any) -> None:
        self._note("before_ack", message)

    def after_ack(self, broker: dramatiq.Broker, message: Any) -> None:
        self._note("after_ack", message)

    def before_nack(self, broker: dramatiq.Broker, message: Any) -> None:
        self._note("before_nack", message)

    def after_nack(self, broker: dramatiq.Broker, message: Any) -> None:
        self._note("after_nack", message)


def test_a_users_middleware_hears_every_signal_in_dramatiqs_order(either: Bench) -> None:
    watching = Watching()
    broker = either.broker(middleware=[watching, CurrentMessage(), retries()])

    def work(name: str) -> None:
        current = CurrentMessage.get_current_message()
        assert current is not None
        either.note(current.args[0])
        if name == "bad":
            raise ValueError

    works = either.actor(broker, work, max_retries=0)
    works.send("good")
    works.send("bad")
    works.send_with_options(args=("later",), delay=1)
    either.worker(broker)
    wait_until(lambda: len(either.seen) == 3, 60, "all of them")
    wait_until(lambda: [watching.has_ended(*key) for key in list(watching.signals)] == [True] * 4, 60, "the ends")
    sent, processed = ["before_enqueue", "after_enqueue"], ["before_process_message", "after_process_message(None)"]
    acked, failed = ["before_ack", "after_ack"], ["before_process_message", "after_process_message(ValueError())"]
    due = watching.signals.pop(("later", QUEUE))
    assert watching.signals == {
        ("good", QUEUE): [*sent, *processed, *acked],
        ("bad", QUEUE): [*sent, *failed, "before_nack", "after_nack"],
        ("later", f"{QUEUE}.DQ"): [*sent, "before_delay_message", *acked],
    }
    due.remove("after_enqueue")  # another thread's, which may come to it when the message is long done
    assert due == ["before_enqueue", *processed, *acked]


def test_a_join_that_takes_too_long_says_so_and_a_flush_drops_everything(either: Bench) -> None:
    broker = either.broker()
    actor = either.actor(broker)
    for number in range(3):
        actor.send(number)
        actor.send_with_options(args=(number,), delay=60_000)
    with pytest.raises(QueueJoinTimeout):
        broker.join(QUEUE, interval=10, timeout=50)
    broker.flush_all()
    broker.join(QUEUE, timeout=1000)
    assert (either.waiting(), either.waiting(f"{QUEUE}.DQ"), either.stored()) == ([], [], 0)


def test_a_worker_of_other_queues_leaves_this_one_alone(either: Bench) -> None:
    broker = either.broker()
    actor = either.actor(broker)
    other = dramatiq.actor(either.note, broker=broker, actor_name="other", queue_name="other")
    actor.send("mine")
    other.send("other")
    worker = dramatiq.Worker(broker, queues={"other"}, worker_threads=1, worker_timeout=100)
    worker.start()
    wait_until(lambda: either.seen == ["other"], 60, "the other queue's")
    worker.stop()
    assert len(either.waiting()) == 1


def test_queues_share_threads_and_none_starves(either: Bench) -> None:
    broker = either.broker()
    gate = Gate()
    either.actor(broker, gate, name="slow").send("x")
    quick = dramatiq.actor(either.note, broker=broker, actor_name="quick", queue_name="quick")
    either.worker(broker, threads=2)
    wait_until(lambda: gate.entered, 60, "the slow one to run")
    for number in range(20):
        quick.send(number)
    wait_until(lambda: len(either.seen) == 20, 60, "the other queue's messages")
    gate.open()
    either.wait_until_empty()
