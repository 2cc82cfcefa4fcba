"""`frame_actor` in Dramatiq's own worker: one frame a call, and only those that fail come again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import Retry
from dramatiq.middleware import AsyncIO, CurrentMessage, Retries, TimeLimit

from settings.wire import message_id, new_producer
from workers import current_frame, frame_actor
from workers.middleware.frame_context import FrameContext
from workers.middleware.frame_metrics import FrameMetrics

PRODUCER = new_producer()
NOW = 1_790_000_000_000_000

#: A call: the payload, the number that `current_frame` told, and how often its message had been tried.
Call = tuple[Any, int | None, int]


class Bench:
    """A broker with Dramatiq's retries, and what the actor under test was called with."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.metrics = FrameMetrics(lambda snapshot, final: None)
        retries = Retries(min_backoff=1, max_backoff=1, max_retries=3)
        self.broker = StubBroker(middleware=[AsyncIO(), TimeLimit(interval=10), CurrentMessage(), FrameContext(), retries])
        self.broker.add_middleware(self.metrics)
        self.broker.emit_after("process_boot")
        self.calls: list[Call] = []

    def note(self, payload: Any) -> None:
        frame = current_frame()
        message = CurrentMessage.get_current_message()
        tries = message.options.get("retries", 0) if message is not None else 0
        self.calls.append((payload, None if frame is None else frame.seq, tries))

    def send(self, actor: dramatiq.Actor[..., Any], payloads: Any, seq: int = 7, count: bool = True, **options: Any) -> None:
        """Enqueue a message as a feed writes it."""
        option = {"feed": "trades", "seq": seq, "received_us": NOW}
        if count:
            option["count"] = len(payloads)
        message = actor.message_with_options(args=(payloads,), frame=option, redis_message_id="x", **options)
        self.broker.enqueue(message.copy(message_id=message_id(PRODUCER, seq)))

    def work(self, queue: str = "default") -> None:
        """Let a worker with one thread do all that there is."""
        worker = dramatiq.Worker(self.broker, worker_timeout=10, worker_threads=1)
        worker.start()
        try:
            self.broker.join(queue, timeout=20_000, fail_fast=False)
            worker.join()
        finally:
            worker.stop()

    @property
    def dead(self) -> list[tuple[str, list[Any], int]]:
        """Return the dead letters: id, payloads, and how often they were tried."""
        letters = [(m.message_id, m.args[0], m.options["retries"]) for m in self.broker.dead_letters]
        return sorted(letters)

    @property
    def counted(self) -> tuple[int, int]:
        feed = self.metrics.snapshot()["feeds"]["trades"]
        return feed["processed"], feed["failed"]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.broker.flush_all()
    made.broker.close()


def failing(bench: Bench, *bad: Any, error: Callable[[], BaseException] = ValueError, **options: Any) -> dramatiq.Actor[..., Any]:
    """Return a frame actor that notes its calls and fails with the frames ``bad``."""

    @frame_actor(broker=bench.broker, **options)
    def handle(frame: Any) -> None:
        bench.note(frame)
        if frame in bad:
            raise error()

    return handle


def test_every_frame_is_one_call_with_its_own_number_and_a_result_is_nobodys(bench: Bench) -> None:
    @frame_actor(broker=bench.broker)
    def handle(frame: Any) -> str:
        """Note it."""
        bench.note(frame)
        return "a result"

    bench.send(handle, ["a", {"b": 1}, ["c"]])
    bench.work()
    assert bench.calls == [("a", 7, 0), ({"b": 1}, 8, 0), (["c"], 9, 0)]
    assert bench.counted == (3, 0)
    assert (handle.actor_name, handle.fn.__doc__) == ("handle", "Note it.")


def test_a_message_of_a_feed_without_batches_and_one_by_hand_are_one_frame(bench: Bench) -> None:
    handle = failing(bench)
    bench.send(handle, "text", count=False)
    bench.send(handle, ["a", "list"], seq=8, count=False)
    handle.send(["by", "hand"])
    bench.work()
    assert bench.calls == [("text", 7, 0), (["a", "list"], 8, 0), (["by", "hand"], None, 0)]


def test_a_frame_that_fails_comes_again_alone_until_its_retries_are_used_up(bench: Bench) -> None:
    handle = failing(bench, "b", "d", max_retries=2)
    bench.send(handle, ["a", "b", "c", "d", "e"])
    bench.work()
    assert bench.calls[:5] == [("a", 7, 0), ("b", 8, 0), ("c", 9, 0), ("d", 10, 0), ("e", 11, 0)]
    assert sorted(bench.calls[5:]) == [("b", 8, 1), ("b", 8, 2), ("d", 10, 1), ("d", 10, 2)]
    assert bench.dead == [(message_id(PRODUCER, 8), ["b"], 3), (message_id(PRODUCER, 10), ["d"], 3)]
    assert bench.counted == (3, 6)


def test_a_frame_that_may_not_be_tried_again_is_a_dead_letter_and_is_not_called_again(bench: Bench) -> None:
    handle = failing(bench, "b", max_retries=0)
    bench.send(handle, ["a", "b", "c"])
    bench.work()
    assert [payload for payload, *_ in bench.calls] == ["a", "b", "c"]
    assert bench.dead == [(message_id(PRODUCER, 8), ["b"], 1)]
    [letter] = bench.broker.dead_letters
    assert "ValueError" in letter.options["traceback"]
    assert bench.counted == (2, 1)


def test_what_throws_names_is_not_tried_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    handle = failing(bench, "a", throws=ValueError)
    with caplog.at_level(logging.INFO, "workers.actors"):
        bench.send(handle, ["a", "b"])
        bench.work()
    assert [payload for payload, *_ in bench.calls] == ["a", "b"]
    assert [letter.args[0] for letter in bench.broker.dead_letters] == [["a"]]
    assert "ValueError" in bench.broker.dead_letters[0].options["traceback"]
    assert "number 7 of feed trades with expected exception ValueError" in caplog.text


def test_retry_says_when(bench: Bench) -> None:
    delays: list[int | None] = []

    class Noting(dramatiq.Middleware):
        def before_enqueue(self, broker: object, message: object, delay: int | None) -> None:
            delays.append(delay)

    bench.broker.add_middleware(Noting())
    tried: list[str] = []

    @frame_actor(broker=bench.broker)
    def handle(frame: str) -> None:
        tried.append(frame)
        if frame == "a" and tried.count("a") == 1:
            raise Retry("later", delay=37)

    bench.send(handle, ["a", "b"])
    bench.work()
    assert tried == ["a", "b", "a"]
    assert 37 in delays


def test_the_actor_that_is_told_of_exhausted_retries_is_told_of_the_frame(bench: Bench) -> None:
    told: list[Any] = []

    @dramatiq.actor(broker=bench.broker)
    def give_up(message: dict[str, Any], options: dict[str, Any]) -> None:
        told.append(message["args"][0])

    handle = failing(bench, "b", max_retries=0, on_retry_exhausted="give_up")
    bench.send(handle, ["a", "b"])
    bench.work()
    assert told == [["b"]]


def test_a_message_that_is_a_retry_itself_counts_on(bench: Bench) -> None:
    handle = failing(bench, "b", max_retries=2)
    bench.send(handle, ["a", "b"], retries=2)
    bench.work()
    assert bench.calls == [("a", 7, 2), ("b", 8, 2)]
    assert bench.dead == [(message_id(PRODUCER, 8), ["b"], 3)]


def test_a_failure_is_logged_with_its_number_and_without_its_content(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    handle = failing(bench, "secret", max_retries=0)
    bench.send(handle, ["a", "secret"])
    bench.work()
    [record] = [record for record in caplog.records if record.name == "workers.actors"]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "Failed to process number 8 of feed trades with unhandled exception."
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


def test_a_time_limit_ends_the_frame_that_runs_and_the_others_go_on_in_a_message_of_their_own(bench: Bench) -> None:
    slow = [True]

    @frame_actor(broker=bench.broker, time_limit=150)
    def handle(frame: str) -> None:
        bench.note(frame)
        while frame == "b" and slow[0]:  # async exceptions come between two instructions
            if bench.calls[-1][2]:
                slow[0] = False

    bench.send(handle, ["a", "b", "c", "d"])
    bench.work()
    assert bench.calls[:2] == [("a", 7, 0), ("b", 8, 0)]
    assert sorted(bench.calls[2:]) == [("b", 8, 1), ("c", 9, 0), ("d", 10, 0)]
    assert bench.counted == (4, 1)
    assert bench.broker.dead_letters == []


def test_with_batches_the_function_gets_the_list_and_fails_as_a_whole(bench: Bench) -> None:
    frames: list[tuple[Any, int]] = []

    @frame_actor(batches=True, broker=bench.broker, max_retries=1)
    def handle(payloads: list[Any]) -> None:
        frame = current_frame()
        frames.append((payloads, frame.count if frame else 0))
        if "bad" in payloads:
            raise ValueError

    bench.send(handle, ["a", "b"])
    bench.send(handle, "one", seq=9, count=False)
    bench.send(handle, ["bad", "c"], seq=10)
    handle.send(["by", "hand"])
    bench.work()
    assert frames[:4] == [(["a", "b"], 2), (["one"], 1), (["bad", "c"], 2), ([["by", "hand"]], 0)]
    assert frames[4:] == [(["bad", "c"], 2)]
    assert [letter.args[0] for letter in bench.broker.dead_letters] == [["bad", "c"]]
    assert bench.counted == (3, 4)


def test_a_plain_actor_gets_the_list_too(bench: Bench) -> None:
    got: list[Any] = []

    @dramatiq.actor(broker=bench.broker)
    def handle(payloads: list[Any]) -> None:
        frame = current_frame()
        got.append((payloads, frame.seq if frame else 0, frame.count if frame else 0))

    bench.send(handle, ["a", "b"])
    bench.work()
    assert got == [(["a", "b"], 7, 2)]


def test_an_asynchronous_function_is_called_frame_by_frame(bench: Bench) -> None:
    @frame_actor(broker=bench.broker, max_retries=1)
    async def handle(frame: str) -> None:
        await asyncio.sleep(0)
        bench.note(frame)
        if frame == "b":
            raise ValueError

    bench.send(handle, ["a", "b", "c"])
    bench.work()
    assert bench.calls == [("a", 7, 0), ("b", 8, 0), ("c", 9, 0), ("b", 8, 1)]


def test_calls_by_hand_are_plain_calls_also_from_within_an_actor(bench: Bench) -> None:
    @frame_actor(broker=bench.broker, actor_name="other", queue_name="elsewhere")
    def other(frame: Any) -> Any:
        return ("other", frame)

    found: list[Any] = []

    @frame_actor(broker=bench.broker)
    def handle(frame: Any) -> Any:
        if frame != ["again"]:
            found.append(other(["a", "list"]))
            found.append(handle(["again"]))
        return frame

    assert (handle.actor_name, handle.queue_name, other.actor_name, other.queue_name) == (
        "handle",
        "default",
        "other",
        "elsewhere",
    )
    assert handle(["again"]) == ["again"]
    bench.send(handle, ["a", "b"])
    bench.work()
    assert found == [("other", ["a", "list"]), ["again"]] * 2


def test_a_broker_without_our_middleware_gets_it_and_without_retries_a_failure_is_the_end() -> None:
    broker = StubBroker(middleware=[])
    calls: list[Any] = []

    @frame_actor(broker=broker)
    def handle(frame: str) -> None:
        calls.append((frame, current_frame()))
        raise ValueError

    assert [type(middleware) for middleware in broker.middleware] == [FrameContext]
    option = {"feed": "trades", "seq": 1, "received_us": NOW, "count": 2}
    broker.enqueue(handle.message_with_options(args=(["a", "b"],), frame=option))
    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=1)
    worker.start()
    broker.join("default", timeout=20_000, fail_fast=False)
    worker.stop()
    assert [(frame, seen.seq if seen else 0) for frame, seen in calls] == [("a", 1), ("b", 2)]
    assert broker.dead_letters == []


def test_without_arguments_it_decorates_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dramatiq.broker.global_broker", bench.broker)

    @frame_actor
    def handle(frame: Any) -> None:
        bench.note(frame)

    bench.send(handle, ["a", "b"])
    bench.work()
    assert [payload for payload, *_ in bench.calls] == ["a", "b"]


def test_an_option_that_dramatiq_does_not_know_is_refused_as_dramatiq_does(bench: Bench) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        failing(bench, nonsense=1)
