"""The consumer of our broker: Dramatiq's own, for which a stalled Redis is a lost connection.

The rule: whatever goes wrong between a worker and Redis is a `ConnectionClosed`, after which Dramatiq reconnects; redis-py's
``TimeoutError`` is no ``ConnectionError``, and would end the consumer's thread; and Dramatiq's ``requeue`` lets both through,
which would end a worker's shutdown half-way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import redis
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import _RedisConsumer
from dramatiq.errors import ConnectionClosed


class RedisConsumer(_RedisConsumer):
    """Fetches and acknowledges as Dramatiq's own consumer does."""

    def ack(self, message: MessageProxy) -> None:
        with _unanswered_is_closed():
            super().ack(message)

    def nack(self, message: MessageProxy) -> None:
        with _unanswered_is_closed():
            super().nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        with _unanswered_is_closed():
            super().requeue(messages)

    def __next__(self) -> MessageProxy | None:
        with _unanswered_is_closed():
            message: MessageProxy | None = super().__next__()
        return message


@contextmanager
def _unanswered_is_closed() -> Iterator[None]:
    try:
        yield
    except (redis.TimeoutError, redis.ConnectionError) as error:
        raise ConnectionClosed(error) from None
