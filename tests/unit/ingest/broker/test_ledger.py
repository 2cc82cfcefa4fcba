"""What is in hand of one queue, and what is done without Redis knowing it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest
import redis

from ingest.broker.ledger import BATCH, LONGEST_AGE, RETRY_DELAY, Ledger
from ingest.wakeup import Wakeup


class Redis:
    """Takes what is told, or fails."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.error: redis.RedisError | None = None

    def tell(self, idents: Sequence[str]) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append(list(idents))


class Bench:
    """A ledger on a clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0
        self.redis = Redis()
        self.wakeup = Wakeup()
        self.ledger = Ledger(self.redis.tell, self.wakeup, clock=lambda: self.now)

    def hold(self, *idents: str) -> None:
        for ident in idents:
            self.ledger.hold(ident)

    def woken(self) -> bool:
        return self.wakeup.wait(0)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.wakeup.close()


def test_with_nothing_else_in_hand_redis_is_told_at_once(bench: Bench) -> None:
    bench.hold("a")
    bench.ledger.settle("a")
    assert bench.redis.calls == [["a"]]
    assert bench.ledger.remaining() == float("inf")
    assert not bench.woken()


def test_with_others_in_hand_it_waits_for_them_and_the_consumer_is_called(bench: Bench) -> None:
    bench.hold("a", "b", "c")
    bench.ledger.settle("a")
    assert bench.woken()
    bench.now += LONGEST_AGE / 2
    bench.ledger.settle("b")
    assert not bench.woken()
    assert bench.redis.calls == []
    assert bench.ledger.remaining() == pytest.approx(LONGEST_AGE / 2)  # the age of the first counts
    assert bench.ledger.flush()
    assert bench.redis.calls == [["a", "b"]]
    assert bench.ledger.held == 1


def test_a_full_batch_is_due_at_once(bench: Bench) -> None:
    bench.hold("rest", *map(str, range(BATCH)))
    for number in range(BATCH):
        bench.ledger.settle(str(number))
    assert bench.woken()
    assert bench.ledger.remaining() <= 0


def test_what_redis_was_not_told_is_kept_and_tried_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.redis.error = redis.TimeoutError("stalled")
    bench.hold("a", "b")
    with caplog.at_level(logging.WARNING):
        bench.ledger.settle("a")
        assert not bench.ledger.flush()
        bench.ledger.settle("b")
        assert not bench.ledger.flush()
    assert len(caplog.records) == 1
    assert bench.ledger.remaining() == pytest.approx(RETRY_DELAY)
    bench.redis.error = None
    assert bench.ledger.flush()
    assert bench.redis.calls == [["a", "b"]]


def test_a_worker_thread_does_not_wait_for_a_redis_that_is_known_to_be_away(bench: Bench) -> None:
    bench.redis.error = redis.ConnectionError("away")
    bench.hold("a")
    bench.ledger.settle("a")
    bench.redis.error = None
    bench.hold("b")
    bench.ledger.settle("b")
    assert bench.redis.calls == []
    assert bench.ledger.flush()
    assert bench.redis.calls == [["a", "b"]]


def test_the_consumer_is_called_when_there_is_room(bench: Bench) -> None:
    bench.hold(*"abcd")
    bench.ledger.call_at(2)
    bench.ledger.drop("a")
    assert not bench.woken()
    bench.ledger.drop("b")
    assert bench.woken()
    bench.ledger.drop("c")
    assert not bench.woken()
    bench.ledger.call_at(2)
    assert bench.woken()


def test_the_order_is_that_of_fetching(bench: Bench) -> None:
    bench.hold(*"badc")
    assert bench.ledger.in_order(["a", "x", "c", "b"]) == ["b", "a", "c", "x"]


def test_it_knows_what_waits_for_its_time(bench: Bench) -> None:
    bench.hold("a")
    bench.ledger.hold("b", delayed=True)
    assert bench.ledger.delayed() == ["b"]


def test_no_acknowledgement_is_lost_between_threads(bench: Bench) -> None:
    idents = [[f"{thread}-{number}" for number in range(500)] for thread in range(8)]
    for some in idents:
        bench.hold(*some)

    def settle(some: list[str]) -> None:
        for ident in some:
            bench.ledger.settle(ident)
            if ident.endswith("7"):
                bench.ledger.flush()

    threads = [threading.Thread(target=settle, args=(some,)) for some in idents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.ledger.flush()
    told = [ident for call in bench.redis.calls for ident in call]
    assert sorted(told) == sorted(ident for some in idents for ident in some)
    assert bench.ledger.remaining() == float("inf")
