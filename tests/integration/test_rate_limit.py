"""The rate limit: one bucket for all who enqueue, on Redis's clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import redis

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.limits import Limits
from tests.support.delivery import leading, made_broker, payloads
from tests.support.lines import Caller
from tests.support.redis_server import Valkey

KEY = "dramatiq:__rate__.trades"


@contextmanager
def limited(valkey: Valkey, rate: float, burst: float | None = None) -> Iterator[RateLimitedBroker]:
    with made_broker(valkey.url, queues={"trades": Limits(rate=rate, burst=burst)}) as broker:
        yield broker


def now_us(client: redis.Redis) -> int:
    seconds, micros = client.time()
    return seconds * 1_000_000 + micros


def test_a_burst_goes_at_once_and_the_rest_has_to_wait(shared_valkey: Valkey) -> None:
    with limited(shared_valkey, rate=0.02, burst=10) as broker:  # one every 50 s: none comes between the two calls
        caller = Caller(broker)
        caller.join()
        reply = caller.call(0, caller.entries(1, 50))
        assert (reply.status, reply.position, reply.queue) == ("rate", 10, "trades")
        assert 0.0 < reply.wait <= 50.0
        again = caller.call(10, caller.entries(11, 50))
        assert (again.status, again.position) == ("rate", 10)
        caller.line.close()


def test_the_wait_is_for_a_twentieth_of_a_seconds_worth(shared_valkey: Valkey) -> None:
    with limited(shared_valkey, rate=1000.0, burst=100) as broker:
        caller = Caller(broker)
        caller.join()
        reply = caller.call(0, caller.entries(1, 1000))
        assert (reply.status, reply.position) == ("rate", 100)
        assert 0.045 <= reply.wait <= 0.06
        caller.line.close()


def test_feeds_share_one_bucket_and_keep_its_rate(shared_valkey: Valkey) -> None:
    rate, total = 4000.0, 6000
    client = shared_valkey.client()
    with ExitStack() as stack:
        broker = stack.enter_context(limited(shared_valkey, rate))
        feeds = [stack.enter_context(leading(broker, name)) for name in ("one", "two")]
        started = now_us(client)
        for feed in feeds:
            feed.put_numbers(1, total // 2)
        for feed in feeds:
            feed.emptied()
        seconds = (now_us(client) - started) / 1_000_000
    measured = (total - broker.limits("trades").burst_messages) / seconds
    # Never faster. How much slower depends on the machine: `make faults` asks for five percent.
    assert 0.1 * rate <= measured <= 1.05 * rate
    for feed in feeds:
        assert feed.publisher.enqueued == total // 2
    assert len(payloads(client)) == total


def test_a_clock_that_went_back_costs_one_burst_and_no_more(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with limited(shared_valkey, rate=1000.0, burst=10) as broker:
        caller = Caller(broker)
        caller.join()
        client.set(KEY, now_us(client) + 3_600_000_000)
        reply = caller.call(0, caller.entries(1, 1))
        assert (reply.status, reply.position) == ("rate", 0)
        assert reply.wait <= 0.011
        stored = float(client.get(KEY))
        assert stored - now_us(client) <= 10_000, "the clamp is stored though nothing was admitted"
        caller.line.close()


def test_a_clock_that_went_forward_gives_one_burst_and_no_more(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with limited(shared_valkey, rate=1.0, burst=10) as broker:
        caller = Caller(broker)
        caller.join()
        client.set(KEY, now_us(client) - 3_600_000_000)
        assert caller.call(0, caller.entries(1, 50)).position == 10
        caller.line.close()


def test_the_bucket_expires_with_its_burst(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with limited(shared_valkey, rate=0.1, burst=20) as broker:
        caller = Caller(broker)
        caller.join()
        caller.call(0, caller.entries(1, 1))
        assert 190_000 < client.pttl(KEY) <= 201_000, "200 s, and one more"
        caller.line.close()


@pytest.mark.parametrize(("rate", "burst"), [(0.5, 1), (1e6, 50_000), (3.7, 1.5)])
def test_odd_rates_admit_their_burst(shared_valkey: Valkey, rate: float, burst: float) -> None:
    with limited(shared_valkey, rate, burst) as broker:
        caller = Caller(broker)
        caller.join()
        admitted = caller.call(0, caller.entries(1, 5)).position
        assert admitted == min(5, int(burst))
        caller.line.close()


def test_waiting_for_tokens_is_no_busy_polling(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with limited(shared_valkey, rate=100.0, burst=1) as broker, leading(broker, "one") as feed:
        before = client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
        started = time.monotonic()
        feed.put_numbers(1, 100)
        feed.emptied()
        seconds = time.monotonic() - started
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"] - before
    assert seconds > 0.5
    assert calls <= 110, "one call a token at most"
