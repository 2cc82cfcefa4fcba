"""A message whose retry Redis did not take is not lost: it comes again. (Dramatiq's own broker counts it as done.)"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import dramatiq
import pytest
from dramatiq.middleware import Retries

from tests.support.in_process import QUEUE, Bench
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until
from workers import frame_actor


@pytest.fixture
def durable(make_valkey: Callable[..., Valkey], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Workers on a server that forgets nothing."""
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.1)
    bench = Bench(make_valkey(appendonly="yes"), "ours")
    yield bench
    bench.close()


class FailingOnce:
    """An actor's function whose first call waits for `go`, and then fails."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.entered, self.go = threading.Event(), threading.Event()

    def __call__(self, value: str) -> None:
        self._bench.note(value)
        if len(self._bench.seen) == 1:
            self.entered.set()
            assert self.go.wait(60)
            raise ValueError(value)


def wait_until_refused(caplog: pytest.LogCaptureFixture) -> None:
    wait_until(lambda: "could not be enqueued again" in caplog.text, 60, "the retry to have failed")


def fail_without_redis(bench: Bench, function: FailingOnce, caplog: pytest.LogCaptureFixture) -> None:
    """Have the first call fail while the server is away, which comes back once the retry has been given up."""
    assert function.entered.wait(60)
    bench.valkey.stop()
    function.go.set()
    wait_until_refused(caplog)
    bench.valkey.start()
    bench.client = bench.valkey.client()


def test_a_message_that_fails_while_redis_is_away_comes_again(durable: Bench, caplog: pytest.LogCaptureFixture) -> None:
    broker = durable.broker()
    function = FailingOnce(durable)
    actor = durable.actor(broker, function)
    for value in ("first", "second"):
        actor.send(value)
    durable.worker(broker, threads=1)
    fail_without_redis(durable, function, caplog)
    durable.wait_until_empty()
    assert sorted(durable.seen) == ["first", "first", "second"]
    assert durable.fetched(broker) == set()


def test_a_batch_of_which_a_frame_fails_while_redis_is_away_comes_again(durable: Bench, caplog: pytest.LogCaptureFixture) -> None:
    broker = durable.broker()
    function = FailingOnce(durable)
    frame_actor(broker=broker, actor_name="handle", queue_name=QUEUE)(function)
    option = {"feed": "trades", "seq": 1, "received_us": 1_790_000_000_000_000, "count": 3}
    broker.enqueue(dramatiq.Message(QUEUE, "handle", (["x", "y", "z"],), {}, {"frame": option}))
    durable.worker(broker)
    fail_without_redis(durable, function, caplog)
    durable.wait_until_empty()
    assert durable.seen == ["x", "x", "y", "z"]


def test_at_a_stop_it_goes_back_at_once(
    durable: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.broker.consumer._GO_BACK", 600.0)
    broker = durable.broker()
    function = FailingOnce(durable)
    durable.actor(broker, function).send("x")
    worker = durable.worker(broker)
    fail_without_redis(durable, function, caplog)
    wait_until(lambda: durable.client.zscore("dramatiq:__heartbeats__", broker.broker_id), 60, "the worker to be back")
    durable.stop(worker)
    assert len(durable.waiting()) == 1
    assert durable.fetched(broker) == set()


def test_a_message_whose_retry_a_full_redis_refuses_comes_again(durable: Bench, caplog: pytest.LogCaptureFixture) -> None:
    broker = durable.broker(middleware=[Retries(max_retries=1, min_backoff=1, max_backoff=1)])
    function = FailingOnce(durable)
    durable.actor(broker, function).send("x")
    durable.worker(broker)
    assert function.entered.wait(60)
    durable.client.config_set("maxmemory", 1)
    function.go.set()
    wait_until_refused(caplog)
    durable.client.config_set("maxmemory", 0)
    durable.wait_until_empty()
    assert durable.seen == ["x", "x"]
