"""The broker as a Dramatiq broker, without a server."""

from __future__ import annotations

import pytest
import redis
from dramatiq.middleware import Middleware, default_middleware

from ingest.broker import Limits, RateLimitedBroker

URL = "redis://127.0.0.1:1/0"


def test_limits_are_those_of_the_queue_or_of_all_others() -> None:
    broker = RateLimitedBroker(url=URL, middleware=[], queues={"a": Limits(high=5, low=1)}, limits=Limits(high=9, low=2))
    assert (broker.limits("a").high, broker.limits("b").high) == (5, 9)
    assert RateLimitedBroker(url=URL, middleware=[]).limits("x") == Limits()


@pytest.mark.parametrize("options", [{}, {"url": URL, "client": redis.Redis()}])
def test_it_needs_to_know_where_redis_is_and_only_once(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="either a url or a client"):
        RateLimitedBroker(**options)  # type: ignore[arg-type]


def test_middleware_is_what_dramatiq_would_take() -> None:
    class Own(Middleware):
        pass

    own = Own()
    assert RateLimitedBroker(url=URL, middleware=(each for each in [own])).middleware == [own]
    assert [type(each) for each in RateLimitedBroker(url=URL).middleware] == default_middleware


def test_other_options_go_to_dramatiqs_broker() -> None:
    broker = RateLimitedBroker(url=URL, middleware=[], namespace="ns", heartbeat_timeout=7, dead_message_ttl=8)
    assert (broker.namespace, broker.heartbeat_timeout, broker.dead_message_ttl) == ("ns", 7, 8)
    assert broker.keys.messages("q") == "ns:q"


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_wait_is_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match="enqueue_timeout"):
        RateLimitedBroker(url=URL, enqueue_timeout=seconds)
