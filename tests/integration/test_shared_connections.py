"""Many feeds over few connections to Redis: everything arrives, in order, and nobody starves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.limits import Limits
from ingest.events import BrokerUnavailable
from tests.support.delivery import Pipeline, leading, made_broker, payloads, queued
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until

FEEDS = 12
WIDE = Limits(high=10**6, low=1)


def run_all(stack: ExitStack, broker: RateLimitedBroker, count: int = FEEDS) -> list[Pipeline]:
    return [stack.enter_context(leading(broker, f"feed{number}")) for number in range(count)]


def test_twelve_feeds_deliver_everything_in_order_over_two_connections(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with made_broker(shared_valkey.url, max_connections=2, limits=WIDE) as broker, ExitStack() as stack:
        feeds = run_all(stack, broker)
        before = len(client.client_list())
        for start in range(1, 3000, 500):
            for feed in feeds:
                feed.put_numbers(start, start + 499)
        for feed in feeds:
            feed.emptied()
        assert len(client.client_list()) <= before
        assert len(client.client_list()) <= 1 + 2 + 2, "ours, the broker's own, and two for all feeds"
    messages = queued(client)
    for feed in feeds:
        assert (feed.crashes, feed.told(BrokerUnavailable)) == ([], [])
        mine = [message.args[0] for message in messages if message.message_id.startswith(feed.producer)]
        assert mine == list(range(1, 3001))


def test_a_quiet_feed_is_not_kept_waiting_by_busy_ones(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with made_broker(shared_valkey.url, max_connections=1, limits=WIDE) as broker, ExitStack() as stack:
        busy, quiet = run_all(stack, broker, 2)
        busy.put_numbers(1, 10)
        busy.emptied()
        for number in range(20):
            sent = busy.publisher.enqueued
            while len(busy.backlog) < 5000:
                busy.put_numbers(1, 5000)
            quiet.put(f"quiet {number}")
            wait_until(lambda: len(quiet.backlog) == 0, 10, "the quiet one's turn")
            assert busy.publisher.enqueued - sent < 10_000, "it waited for all that the other had"
        busy.emptied()
    assert [text for text in payloads(client) if isinstance(text, str)] == [f"quiet {number}" for number in range(20)]


@pytest.mark.parametrize("kill", ["server", "connections"])
def test_feeds_that_share_connections_survive_their_loss_together(make_valkey: Callable[..., Valkey], kill: str) -> None:
    valkey = make_valkey(appendonly="yes")
    client = valkey.client()
    with made_broker(valkey.url, max_connections=2, limits=WIDE) as broker, ExitStack() as stack:
        feeds = run_all(stack, broker)
        for feed in feeds:
            feed.put_numbers(1, 100)
            feed.emptied()
        if kill == "server":
            client.config_set("appendonly", "yes")
            wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], 10, "the append-only file")
            valkey.stop()
            for feed in feeds:
                feed.put_numbers(101, 200)
            valkey.start()
        else:
            client.client_kill_filter(skipme=True, _type="normal")
            for feed in feeds:
                feed.put_numbers(101, 200)
        for feed in feeds:
            feed.emptied(60)
    assert sorted(map(int, payloads(client))) == sorted(list(range(1, 201)) * FEEDS)
