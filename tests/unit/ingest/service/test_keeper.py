"""The keeper: renews with one call what it holds, tries for the rest, gives everything back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread

import pytest
import redis

from ingest.broker.lease import Leases, Renewal, Renewed
from ingest.clock import Deadline
from ingest.errors import BrokerTimedOut
from ingest.service.keeper import RENEWALS, Keeper
from tests.support.claims import FEED_KEY, KEYS, Contender
from tests.support.connections import ManualClock
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until


@pytest.fixture
def client(shared_valkey: Valkey) -> redis.Redis:
    return shared_valkey.client()


class CountedLeases(Leases):
    """Real leases that count their calls, and are cut off while ``away``."""

    def __init__(self, client: redis.Redis, seconds: float = 60.0) -> None:
        super().__init__(client, KEYS, "", seconds)
        self.calls: list[str] = []
        self.away = False

    def renew(self, renewals: Sequence[Renewal]) -> list[Renewed]:
        self._count("renew " + " ".join(each.feed for each in renewals))
        return super().renew(renewals)

    def take(self, *arguments: object) -> object:  # type: ignore[override]
        self._count("take")
        return super().take(*arguments)  # type: ignore[arg-type]

    def release(self, feed: str, producer: str, position: str = "", safe_us: int = 0) -> bool:
        self._count(f"release {feed}")
        return super().release(feed, producer, position, safe_us)

    def _count(self, call: str) -> None:
        self.calls.append(call)
        if self.away:
            raise BrokerTimedOut("for the test")


class Kept:
    """A keeper of some feeds, turned by hand."""

    def __init__(self, client: redis.Redis, *feeds: str) -> None:
        self.clock = ManualClock()
        self.leases = CountedLeases(client)
        self.contenders = [Contender(client) for _ in feeds]
        for feed, contender in zip(feeds, self.contenders, strict=True):
            contender.claim.feed = feed
            contender.clock = self.clock
        self.keeper = Keeper(self.leases, [each.claim for each in self.contenders], self.clock)

    def calls(self) -> list[str]:
        """Return the calls since this was asked last."""
        calls, self.leases.calls = self.leases.calls, []
        return calls

    @property
    def leads(self) -> list[bool]:
        return [each.claim.leads for each in self.contenders]


def test_takes_each_and_then_renews_all_with_one_call_three_times_a_lease(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b", "c")
    kept.keeper.turn()
    assert (kept.calls(), kept.leads) == (["take"] * 3, [True] * 3)
    kept.keeper.turn()
    assert kept.calls() == []
    for _ in range(3):
        kept.clock.now += 60.0 / RENEWALS
        kept.keeper.turn()
        assert kept.calls() == ["renew a b c"]


def test_tries_for_what_another_has_at_every_turn_and_renews_the_rest_when_due(client: redis.Redis) -> None:
    Contender(client).attempt()
    kept = Kept(client, "trades", "mine")
    kept.keeper.turn()
    assert kept.leads == [False, True]
    kept.calls()
    kept.keeper.turn()
    assert kept.calls() == ["take"]
    kept.clock.now += 20.0
    kept.keeper.turn()
    assert kept.calls() == ["renew mine", "take"]


def test_what_is_held_is_renewed_in_time_however_long_the_attempts_for_the_rest_take(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b", "c", "d")
    for contender in kept.contenders:
        attempt = contender.claim._attempt

        def slow(leases: Leases, attempt: Callable[[Leases], None] = attempt) -> None:
            kept.clock.now += 15.0
            attempt(leases)

        contender.claim._attempt = slow  # type: ignore[method-assign]
    kept.keeper.turn()
    assert kept.calls() == ["take", "take", "renew a b", "take", "take"]


def test_what_was_lost_is_tried_for_anew_at_once(client: redis.Redis) -> None:
    kept = Kept(client, "trades")
    kept.keeper.turn()
    first = kept.contenders[0].tenure.leader
    client.hset(FEED_KEY, mapping={"leader": "", "until": "0"})
    kept.contenders[0].tenure.fenced(first)
    kept.calls()
    kept.keeper.turn()
    assert kept.calls() == ["take"]
    assert kept.contenders[0].tenure.leader not in ("", first)


def test_a_failure_is_no_loss_and_is_tried_again_when_it_is_due(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b")
    kept.keeper.turn()
    kept.calls()
    kept.leases.away = True
    kept.clock.now += 20.0
    kept.keeper.turn()
    kept.keeper.turn()
    assert (kept.calls(), kept.leads) == (["renew a b"], [True, True])
    kept.leases.away = False
    kept.clock.now += 20.0
    kept.keeper.turn()
    assert (kept.calls(), kept.leads) == (["renew a b"], [True, True])


def test_one_answer_is_each_feeds_own(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b", "c")
    kept.keeper.turn()
    client.hset(KEYS.feed("", "a"), "leader", "another")
    client.delete(KEYS.feed("", "c"))
    kept.clock.now += 20.0
    kept.keeper.turn()
    assert kept.leads == [False, True, True]
    assert [each.doubts.count for each in kept.contenders] == [0, 0, 1]


def test_told_to_stand_down_it_renews_and_takes_nothing_more(client: redis.Redis) -> None:
    other = Contender(client)
    other.attempt()
    kept = Kept(client, "trades", "mine")
    kept.keeper.turn()
    kept.keeper.stand_down()
    other.release()
    kept.calls()
    kept.clock.now += 20.0
    kept.keeper.turn()
    assert (kept.calls(), kept.leads) == (["renew mine"], [False, True])


def test_at_the_end_everything_is_given_back(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b")
    kept.keeper.turn()
    kept.calls()
    kept.keeper.release(Deadline(10.0))
    assert kept.calls() == ["release a", "release b"]
    assert [client.hget(KEYS.feed("", feed), "leader") for feed in ("a", "b")] == [b"", b""]


def test_a_redis_that_does_not_answer_costs_one_time_out_at_the_end(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b")
    kept.keeper.turn()
    kept.calls()
    kept.leases.away = True
    kept.keeper.release(Deadline(10.0))
    assert kept.calls() == ["release a"]


def test_after_the_deadline_nothing_is_tried(client: redis.Redis) -> None:
    kept = Kept(client, "a")
    kept.keeper.turn()
    kept.calls()
    kept.keeper.release(Deadline(0.0))
    assert kept.calls() == []


@contextmanager
def running(keeper: Keeper) -> Iterator[None]:
    thread = Thread(target=keeper.run, name="lease")
    thread.start()
    try:
        yield
    finally:
        keeper.stop()
        thread.join(10)
        assert not thread.is_alive(), "the keeper did not stop"


def test_running_it_leads_is_woken_by_a_loss_and_stops_in_any_pause(client: redis.Redis) -> None:
    contender = Contender(client)
    keeper = Keeper(CountedLeases(client), [contender.claim])
    contender.tenure.on_lost = keeper.wake
    with running(keeper):
        wait_until(lambda: contender.claim.leads, 10, "the lead")
        first = contender.tenure.leader
        client.hset(FEED_KEY, mapping={"leader": "", "until": "0"})
        contender.tenure.fenced(first)  # the next renewal is due in 20 s
        wait_until(lambda: contender.tenure.leader not in ("", first), 10, "another lead")


def test_running_it_notices_by_itself_when_a_leader_gives_up(client: redis.Redis) -> None:
    other, contender = Contender(client), Contender(client)
    other.attempt()
    with running(Keeper(CountedLeases(client), [contender.claim])):
        wait_until(lambda: contender.events, 10, "the standby")
        other.release()
        wait_until(lambda: contender.claim.leads, 10, "the lead")


def test_a_feed_that_gave_up_and_has_nothing_left_lets_another_lead_and_asks_no_more(client: redis.Redis) -> None:
    kept = Kept(client, "trades", "mine")
    kept.keeper.turn()
    kept.calls()
    kept.keeper.retire("trades")
    kept.keeper.turn()
    assert (kept.calls(), kept.leads) == (["release trades"], [False, True])
    other = Contender(client)
    other.attempt()
    assert other.claim.leads
    kept.clock.now += 20.0
    kept.keeper.turn()
    assert kept.calls() == ["renew mine"]
