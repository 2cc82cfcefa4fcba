"""Many feeds over few connections to Redis: everything arrives, in order, and nobody starves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

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
    earlier = {each["id"] for each in client.client_list()}  # ours, and those of earlier tests that are closing
    with made_broker(shared_valkey.url, max_connections=2, limits=WIDE) as broker, ExitStack() as stack:
        feeds = run_all(stack, broker)
        before = {each["id"] for each in client.client_list()} - earlier
        for start in range(1, 3000, 500):
            for feed in feeds:
                feed.put_numbers(start, start + 499)
        for feed in feeds:
            feed.emptied()
        after = {each["id"] for each in client.client_list()} - earlier
        assert len(after) <= len(before)
        assert len(after) <= 2 + 2, "the broker's own, and two for all feeds"
    messages = queued(client)
    for feed in feeds:
        assert (feed.crashes, feed.told(BrokerUnavailable)) == ([], [])
        mine = [message.args[0] for message in messages if message.message_id.startswith(feed.producer)]
        assert mine == list(range(1, 3001))


def test_a_quiet_feed_is_not_kept_waiting_by_busy_ones(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    before: list[int] = []
    with made_broker(shared_valkey.url, max_connections=1, limits=WIDE) as broker, ExitStack() as stack:
        busy, quiet = run_all(stack, broker, 2)
        with kept_full(busy, 20_000):
            for number in range(20):
                wait_until(lambda: len(busy.backlog) >= 20_000, 60, "a full backlog of the busy one")
                quiet.put(f"quiet {number}")
                before.append(busy.publisher.enqueued)
                wait_until(lambda: len(quiet.backlog) == 0, 60, "the quiet one's turn")
        busy.emptied()
    arrived = payloads(client)
    places = [place for place, payload in enumerate(arrived) if isinstance(payload, str)]
    assert [arrived[place] for place in places] == [f"quiet {number}" for number in range(20)]
    waited_for = [place - number - enqueued for number, (place, enqueued) in enumerate(zip(places, before, strict=True))]
    assert max(waited_for) < 10_000, f"one waited for all that the other had: {waited_for}"


@contextmanager
def kept_full(feed: Pipeline, least: int) -> Iterator[None]:
    """Hold at least so many in a feed's backlog, however fast it is emptied."""
    over = threading.Event()

    def fill() -> None:
        while not over.is_set():
            if len(feed.backlog) < 2 * least:
                feed.put_numbers(1, least // 4)
            else:
                over.wait(0.001)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(20)


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
