"""A stalled Redis is a lost connection for a consumer, from which Dramatiq recovers."""

from __future__ import annotations

from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.broker import MessageProxy
from dramatiq.errors import ConnectionClosed

from ingest.broker.broker import RateLimitedBroker

MESSAGE: MessageProxy = MessageProxy(dramatiq.Message("q", "a", (), {}, {"redis_message_id": "1"}))


class StalledBroker(RateLimitedBroker):
    """Every command times out."""

    def __init__(self) -> None:
        super().__init__(url="redis://127.0.0.1:1/0", middleware=[])

    def _dispatch(self, command: str) -> Any:
        def time_out(*arguments: object) -> None:
            raise redis.TimeoutError("Timeout reading from socket")

        return time_out


def test_every_command_that_times_out_is_a_closed_connection() -> None:
    consumer = StalledBroker().consume("q")
    for act in (
        lambda: next(consumer),
        lambda: consumer.ack(MESSAGE),
        lambda: consumer.nack(MESSAGE),
        lambda: consumer.requeue([MESSAGE]),
    ):
        with pytest.raises(ConnectionClosed):
            act()
