"""A stalled or absent Redis is a lost connection for a consumer, from which Dramatiq recovers."""

from __future__ import annotations

from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.broker import MessageProxy
from dramatiq.errors import ConnectionClosed

from ingest.broker.broker import RateLimitedBroker

MESSAGE: MessageProxy = MessageProxy(dramatiq.Message("q", "a", (), {}, {"redis_message_id": "1"}))


class FailingBroker(RateLimitedBroker):
    """Every command fails in the same way."""

    def __init__(self, error: redis.RedisError) -> None:
        super().__init__(url="redis://127.0.0.1:1/0", middleware=[])
        self._error = error

    def _dispatch(self, command: str) -> Any:
        def fail(*arguments: object) -> None:
            raise self._error

        return fail


@pytest.mark.parametrize(
    "error",
    [redis.TimeoutError("Timeout reading from socket"), redis.ConnectionError("Connection refused")],
    ids=["stalled", "absent"],
)
def test_every_command_that_redis_does_not_answer_is_a_closed_connection(error: redis.RedisError) -> None:
    consumer = FailingBroker(error).consume("q")
    for act in (
        lambda: next(consumer),
        lambda: consumer.ack(MESSAGE),
        lambda: consumer.nack(MESSAGE),
        lambda: consumer.requeue([MESSAGE]),
    ):
        with pytest.raises(ConnectionClosed):
            act()
