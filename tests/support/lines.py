"""One producer's line to a real Redis, a call at a time, for tests of the scripts."""

from __future__ import annotations

from collections.abc import Sequence

import redis

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.line import Line, Reply
from ingest.delivery.backlog import Entry
from settings.wire import new_producer
from tests.support.delivery import make_envelope


class Caller:
    """Makes numbered messages and sends them as calls of one producer."""

    def __init__(self, broker: RateLimitedBroker, feed: str = "trades") -> None:
        self.producer = new_producer()
        self.line: Line = broker.line(feed)
        self.field = f"p.{self.producer}"
        self.key = broker.keys.feed("", feed)
        self._envelope = make_envelope(self.producer)

    def join(self, base: int | None = 0) -> int | None:
        return self.line.join(self.producer, base).position

    def entries(self, first: int, last: int, queue: str = "trades") -> list[Entry]:
        """Return messages whose payloads are their numbers."""
        out: list[Entry] = []
        self._envelope.seal(range(first, last + 1), first, 1_790_000_000_000_000, out)
        return [entry._replace(queue=queue) for entry in out]

    def send(self, prev: int, entries: Sequence[Entry], last: int | None = None) -> None:
        self.line.enqueue_batch(self.producer, prev, last if last is not None else entries[-1].last, entries)

    def receive(self) -> Reply:
        reply = self.line.reply(10)
        assert reply is not None, "no reply within 10 s"
        return reply

    def call(self, prev: int, entries: Sequence[Entry], last: int | None = None) -> Reply:
        self.send(prev, entries, last)
        return self.receive()

    def held(self, client: redis.Redis) -> str:
        """Return what Redis holds as this producer's position, without epoch and nonce."""
        value = client.hget(self.key, self.field)
        return value.decode().rpartition(":")[2] if value is not None else ""
