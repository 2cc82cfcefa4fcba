"""A Dramatiq worker in the test's own process, on either broker: Dramatiq's stock one and ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Retries

from ingest.broker.broker import RateLimitedBroker
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until

QUEUE = "q"


class Bench:
    """Brokers of one kind on one server, their workers, and what their actors saw."""

    def __init__(self, valkey: Valkey, kind: str) -> None:
        self.valkey = valkey
        self.kind = kind
        self.client = valkey.client()
        self.seen: list[Any] = []
        self._brokers: list[RedisBroker] = []
        self._workers: list[dramatiq.Worker] = []

    def broker(self, *, url: str | None = None, **options: Any) -> RedisBroker:
        options.setdefault("middleware", [Retries(min_backoff=1, max_backoff=1)])
        make: Callable[..., RedisBroker] = RedisBroker if self.kind == "stock" else RateLimitedBroker
        broker = make(url=url or self.valkey.url, **options)
        self._brokers.append(broker)
        return broker

    def actor(self, broker: RedisBroker, function: Callable[..., Any] | None = None, **options: Any) -> dramatiq.Actor[Any, Any]:
        """Declare an actor that notes its argument, or calls ``function``."""
        return dramatiq.actor(
            function or self.note, broker=broker, actor_name=options.pop("name", "handle"), queue_name=QUEUE, **options
        )

    def note(self, value: Any) -> None:
        self.seen.append(value)

    def worker(self, broker: RedisBroker, *, threads: int = 2, timeout: int = 100) -> dramatiq.Worker:
        worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=timeout)
        self._workers.append(worker)
        worker.start()
        return worker

    def stop(self, worker: dramatiq.Worker, timeout: int = 20_000) -> float:
        """Stop a worker; return the seconds that it took."""
        self._workers.remove(worker)
        began = time.monotonic()
        worker.stop(timeout)
        return time.monotonic() - began

    def waiting(self, queue: str = QUEUE) -> list[str]:
        """Return the ids that wait in a queue, from its head."""
        return [each.decode() for each in self.client.lrange(f"dramatiq:{queue}", 0, -1)]

    def stored(self, queue: str = QUEUE) -> int:
        return int(self.client.hlen(f"dramatiq:{queue}.msgs"))

    def fetched(self, broker: RedisBroker, queue: str = QUEUE) -> set[bytes]:
        return set(self.client.smembers(f"dramatiq:__acks__.{broker.broker_id}.{queue}"))

    def wait_until_empty(self) -> None:
        wait_until(lambda: self.stored() == 0 == self.stored(f"{QUEUE}.DQ"), 60, "every message to be acknowledged")

    def close(self) -> None:
        for worker in list(self._workers):
            self.stop(worker)
        for broker in self._brokers:
            broker.close()


class Gate:
    """An actor's function that waits until it is let go."""

    def __init__(self) -> None:
        self.entered: list[Any] = []
        self._open = threading.Event()

    def __call__(self, value: Any) -> None:
        self.entered.append(value)
        assert self._open.wait(60)

    def open(self) -> None:
        self._open.set()


@pytest.fixture(params=["stock", "ours"])
def either(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[Bench]:
    """Both kinds, one after the other."""
    bench = Bench(valkey, request.param)
    yield bench
    bench.close()


@pytest.fixture
def ours(valkey: Valkey) -> Iterator[Bench]:
    bench = Bench(valkey, "ours")
    yield bench
    bench.close()
