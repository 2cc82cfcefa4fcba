"""A stalled or absent Redis is a lost connection for a consumer, from which Dramatiq recovers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import dramatiq
import pytest
import redis
from dramatiq.broker import MessageProxy
from dramatiq.errors import ConnectionClosed

from ingest.broker.broker import RateLimitedBroker


def message(ident: str) -> MessageProxy:
    return MessageProxy(dramatiq.Message("q", "a", (), {}, {"redis_message_id": ident}))


class FailingBroker(RateLimitedBroker):
    """Every command fails in the same way."""

    def __init__(self, error: redis.RedisError) -> None:
        def fail(*arguments: object, **keywords: object) -> None:
            raise error

        super().__init__(url="redis://127.0.0.1:1/0", middleware=[])
        self.scripts = dict.fromkeys(self.scripts, fail)
        self.client.register_script = lambda source: fail  # type: ignore[assignment]


@contextlib.contextmanager
def failing(error: redis.RedisError) -> Iterator[FailingBroker]:
    broker = FailingBroker(error)
    yield broker
    broker.close()


@pytest.mark.parametrize(
    "error",
    [redis.TimeoutError("Timeout reading from socket"), redis.ConnectionError("Connection refused")],
    ids=["stalled", "absent"],
)
def test_a_command_that_redis_does_not_answer_is_a_closed_connection(error: redis.RedisError) -> None:
    with failing(error) as broker:
        consumer = broker.consume("q")
        for act in (
            lambda: next(consumer),
            lambda: consumer.nack(message("1")),
            lambda: consumer.requeue([message("1")]),
        ):
            with pytest.raises(ConnectionClosed):
                act()


def test_a_worker_thread_never_waits_for_its_acknowledgement_to_be_taken(caplog: pytest.LogCaptureFixture) -> None:
    with failing(redis.TimeoutError("stalled")) as broker:
        consumer = broker.consume("q")
        consumer.ack(message("1"))
        consumer.ack(message("2"))
        consumer.close()
    assert [record.message.split(":")[0] for record in caplog.records] == ["1 messages are done, but could not be acknowledged"]


def test_a_refusal_does_not_end_a_shutdown_half_way() -> None:
    replica = redis.exceptions.ReadOnlyError("You can't write against a read only replica.")
    with failing(replica) as broker, pytest.raises(ConnectionClosed):
        broker.consume("q").requeue([message("1")])
