"""What Redis and the way to it can do to a stream: nothing lost, nothing doubled, the order kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingest.broker.limits import Limits
from ingest.delivery.core import MOST_REFUSALS, Pace
from ingest.events import BrokerRecovered, BrokerUnavailable, MessageRejected, QueueForgotten
from tests.support.delivery import payloads, publishing
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import Valkey, on_every_server
from tests.support.waiting import wait_until

#: Soon enough for a test, late enough for a busy machine.
QUICK = "socket_timeout=0.5&socket_connect_timeout=2"
PACE = Pace(call_timeout=0.5)


def numbers(last: int) -> list[int]:
    return list(range(1, last + 1))


@on_every_server
def test_lost_replies_double_nothing(shared_valkey: Valkey) -> None:
    with RedisProxy(shared_valkey.path) as proxy, publishing(f"{proxy.url}?{QUICK}", pace=Pace(messages=50)) as feed:
        wait_until(lambda: feed.core.settled, 10, "the join")
        for turn in range(8):
            lost = proxy.lost
            proxy.losing.set()
            feed.put_numbers(turn * 500 + 1, turn * 500 + 500)
            wait_until(lambda before=lost: proxy.lost > before, 20, "a lost reply")
            proxy.losing.clear()
            feed.emptied()
    assert payloads(shared_valkey.client()) == numbers(4000)
    assert feed.publisher.enqueued == 4000
    assert feed.told(QueueForgotten) == []


@on_every_server
def test_connections_killed_again_and_again_lose_nothing(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with publishing(shared_valkey.url) as feed:
        for first in range(1, 10_001, 500):
            wait_until(lambda: feed.core.settled and len(feed.backlog) == 0, 20, "a joined line")
            retries = feed.publisher.retries
            feed.put_numbers(first, first + 249)
            client.client_kill_filter(_type="normal", skipme=True)
            feed.put_numbers(first + 250, first + 499)
            wait_until(lambda before=retries: feed.publisher.retries > before, 20, "the cut")
        feed.emptied()
    assert payloads(client) == numbers(10_000)
    assert feed.told(BrokerUnavailable) == [], "a connection that is replaced at once is no outage"


def test_a_crash_of_a_redis_that_writes_ahead_loses_nothing(make_valkey: Callable[..., Valkey]) -> None:
    valkey = make_valkey(appendonly="yes", appendfsync="always")
    with publishing(valkey.url, pace=PACE) as feed:
        for turn in range(3):
            feed.put_numbers(turn * 5000 + 1, turn * 5000 + 5000)
            wait_until(lambda least=turn * 5000 + 1: feed.publisher.enqueued >= least, 20, "some of them")
            valkey.kill()
            valkey.start()
        feed.emptied()
        assert feed.drain(10)
    assert payloads(valkey.client()) == numbers(15_000)
    assert feed.told(QueueForgotten) == []


def test_an_outage_is_told_and_so_is_its_end(valkey: Valkey) -> None:
    with publishing(valkey.url) as feed:
        feed.put("before")
        feed.emptied()
        valkey.kill()
        feed.put("during")
        wait_until(lambda: feed.told(BrokerUnavailable), 20, "the outage")
        valkey.start()
        feed.emptied()
        wait_until(lambda: feed.told(BrokerRecovered), 20, "the recovery")
    assert payloads(valkey.client()) == ["during"]
    assert len(feed.told(BrokerUnavailable)) == len(feed.told(BrokerRecovered)) == 1


@on_every_server
@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "under load"])
def test_what_redis_forgot_is_told_and_everything_after_is_in_order(shared_valkey: Valkey, busy: bool) -> None:
    client = shared_valkey.client()
    with publishing(shared_valkey.url) as feed:
        feed.put_numbers(1, 1000)
        feed.emptied()
        if busy:
            feed.put_numbers(1001, 20_000)
        client.flushall()
        feed.put_numbers(20_001 if busy else 1001, 21_000 if busy else 2000)
        feed.emptied()
    [event] = feed.told(QueueForgotten)
    assert isinstance(event, QueueForgotten)
    assert (event.held, event.telemetry_id) == (0, "trades")
    left = payloads(client)
    assert left == list(range(left[0], left[-1] + 1)), "a hole or a double after the flush"
    assert event.confirmed + 1 == left[0]
    assert left[-1] == (21_000 if busy else 2000)
    assert busy or event.confirmed == 1000


def test_what_redis_forgot_while_nothing_came_is_told_at_the_end(shared_valkey: Valkey) -> None:
    with publishing(shared_valkey.url) as feed:
        feed.put_numbers(1, 10)
        feed.emptied()
        shared_valkey.client().flushall()
        assert feed.drain(10)
    assert len(feed.told(QueueForgotten)) == 1


@on_every_server
def test_a_stall_longer_than_the_time_out_doubles_nothing(valkey: Valkey) -> None:
    with publishing(f"{valkey.url}?{QUICK}", pace=PACE) as feed:
        feed.put_numbers(1, 1000)
        feed.emptied()
        for turn in (1, 2):
            with valkey.stalled():
                retries = feed.publisher.retries
                feed.put_numbers(turn * 1000 + 1, turn * 1000 + 1000)
                wait_until(lambda before=retries: feed.publisher.retries >= before + 2, 30, "two attempts that time out")
            feed.emptied()
        assert feed.drain(10)
    assert payloads(valkey.client()) == numbers(3000)
    assert feed.told(BrokerUnavailable)


@on_every_server
def test_a_flushed_script_costs_a_join_and_nothing_else(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with publishing(shared_valkey.url) as feed:
        for turn in range(10):
            feed.put_numbers(turn * 1000 + 1, turn * 1000 + 1000)
            client.script_flush()
        feed.emptied()
    assert payloads(client) == numbers(10_000)
    assert feed.events == []


@on_every_server
def test_without_memory_it_waits_and_then_goes_on(valkey: Valkey) -> None:
    client = valkey.client()
    with publishing(valkey.url) as feed:
        feed.put_numbers(1, 1000)
        feed.emptied()
        client.config_set("maxmemory", "100kb")
        feed.put_numbers(1001, 2000)
        wait_until(lambda: feed.told(BrokerUnavailable), 20, "the refusal")
        client.config_set("maxmemory", "0")
        feed.emptied()
    [event] = feed.told(BrokerUnavailable)
    assert isinstance(event, BrokerUnavailable)
    assert "OOM" in event.detail
    assert payloads(client) == numbers(2000)


def test_a_key_that_is_no_list_is_waited_for_longer_than_any_message(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with publishing(shared_valkey.url) as feed:
        client.set("dramatiq:trades", "not ours")
        feed.put_numbers(1, 100)
        wait_until(lambda: feed.publisher.retries > MOST_REFUSALS, 60, "more attempts than a single message gets")
        client.delete("dramatiq:trades")
        feed.emptied()
    assert payloads(client) == numbers(100)
    assert feed.told(MessageRejected) == []
    assert len(feed.told(BrokerUnavailable)) == 1


def test_a_drain_without_redis_ends_in_time_and_says_what_is_left(valkey: Valkey) -> None:
    with publishing(f"{valkey.url}?{QUICK}", pace=PACE) as feed:
        feed.put_numbers(1, 10)
        feed.emptied()
        with valkey.stalled():
            feed.put_numbers(11, 30)
            assert not feed.drain(1.0)
            assert feed.backlog.save(keeps=False).lost == 20


def test_a_drain_into_a_full_queue_ends_in_time(shared_valkey: Valkey) -> None:
    with publishing(shared_valkey.url, limits=Limits(high=10, low=5)) as feed:
        feed.put_numbers(1, 30)
        wait_until(lambda: feed.publisher.enqueued == 10, 20, "a full queue")
        assert not feed.drain(0.5)
    assert payloads(shared_valkey.client()) == numbers(10)
    assert feed.backlog.save(keeps=False).lost == 20
