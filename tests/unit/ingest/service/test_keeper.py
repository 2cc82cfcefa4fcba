"""The keeper: renews with one call what it holds, tries for the rest, gives everything back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
import redis

from ingest.broker.lease import Answer, Bid, Held, Leases, Renewal, Renewed
from ingest.clock import Deadline
from ingest.errors import BrokerRefused, BrokerTimedOut
from ingest.events import BrokerUnavailable, LeaseReleased
from ingest.service import keeper as keeper_module
from ingest.service.claim import Claim
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

    def take(self, bids: Sequence[Bid]) -> list[Answer]:
        self._count("take " + " ".join(bid.feed for bid in bids))
        return super().take(bids)

    def release(self, renewals: Sequence[Renewal]) -> list[bool | BrokerRefused]:
        self._count("release " + " ".join(each.feed for each in renewals))
        return super().release(renewals)

    def _count(self, call: str) -> None:
        self.calls.append(call)
        if self.away:
            raise BrokerTimedOut("for the test")


class Kept:
    """A keeper of some feeds, turned by hand."""

    def __init__(self, client: redis.Redis, *feeds: str, folder: Path | None = None) -> None:
        self.clock = ManualClock()
        self.leases = CountedLeases(client)
        self.contenders = [Contender(client, folder, feed=feed) for feed in feeds]
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
    assert (kept.calls(), kept.leads) == (["take a b c"], [True] * 3)
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
    assert kept.calls() == ["take trades"]
    kept.clock.now += 20.0
    kept.keeper.turn()
    assert kept.calls() == ["renew mine", "take trades"]


def test_many_are_taken_and_given_back_in_parts_so_that_redis_serves_others_between(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "AT_ONCE", 2)
    kept = Kept(client, "a", "b", "c", "d", "e")
    kept.keeper.turn()
    assert (kept.calls(), kept.leads) == (["take a b", "take c d", "take e"], [True] * 5)
    kept.keeper.release(Deadline(10.0))
    assert kept.calls() == ["release a b", "release c d", "release e"]


def test_what_is_held_is_renewed_in_time_however_long_the_attempts_for_the_rest_take(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "AT_ONCE", 2)
    kept = Kept(client, "a", "b", "c", "d", "e", "f")
    prepare = Claim.prepare

    def slow(claim: Claim) -> None:
        if claim.feed in "ace":
            kept.clock.now += 20.0
        prepare(claim)

    monkeypatch.setattr(Claim, "prepare", slow)
    kept.keeper.turn()
    assert kept.calls() == ["take a b", "renew a b", "take c d", "renew a b c d", "take e f"]


def test_what_is_held_is_renewed_while_a_disk_keeps_another_feed_waiting(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(client, "held")
    kept.leases.seconds = 0.06  # so that it is looked often whether it is time to
    kept.keeper.turn()
    goes_on = Event()
    prepare = Claim.prepare

    def hang(claim: Claim) -> None:
        assert goes_on.wait(20)
        prepare(claim)

    monkeypatch.setattr(Claim, "prepare", hang)
    others = [Contender(client, feed=feed) for feed in ("b", "c")]
    for other in others:
        kept.keeper.add(other.claim)
    turning = Thread(target=kept.keeper.turn)
    turning.start()
    for times in (1, 2, 3):
        kept.clock.now += 0.02
        wait_until(lambda times=times: kept.leases.calls.count("renew held") == times, 10, "a renewal meanwhile")  # type: ignore[misc]
    goes_on.set()
    turning.join(10)
    assert [other.claim.leads for other in others] == [True, True]


def test_each_feed_has_its_own_answer_and_what_is_wrong_with_one_is_its_own_trouble(client: redis.Redis) -> None:
    client.set(KEYS.feed("", "b"), "somebody's")
    Contender(client, feed="c").attempt()
    kept = Kept(client, "a", "b", "c", "d")
    kept.keeper.turn()
    assert (kept.calls(), kept.leads) == (["take a b c d"], [True, False, False, True])
    assert [len(each.of(BrokerUnavailable)) for each in kept.contenders] == [0, 1, 0, 0]
    client.delete(KEYS.feed("", "b"))
    kept.keeper.turn()
    assert kept.leads == [True, True, False, True]


def test_a_key_that_we_may_not_touch_costs_its_own_feed_alone(client: redis.Redis, shared_valkey: Valkey) -> None:
    patterns = [f"~{KEYS.feed('', feed)}" for feed in ("a", "b", "d", "e")]
    client.execute_command("ACL", "SETUSER", "some", "on", "nopass", "+@all", *patterns)
    kept = Kept(redis.Redis(unix_socket_path=str(shared_valkey.path), username="some", password="any"), "a", "b", "c", "d", "e")
    try:
        kept.keeper.turn()
    finally:
        client.execute_command("ACL", "DELUSER", "some")
    assert kept.leads == [True, True, False, True, True]
    [event] = kept.contenders[2].of(BrokerUnavailable)
    assert "NOPERM" in event.detail


def test_a_whole_call_that_fails_is_each_feeds_failure_and_made_again_at_the_next_turn(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b")
    kept.leases.away = True
    kept.keeper.turn()
    assert [len(each.of(BrokerUnavailable)) for each in kept.contenders] == [1, 1]
    kept.leases.away = False
    kept.keeper.turn()
    assert kept.leads == [True, True]


def test_leaders_whose_spools_are_here_are_dead_and_all_overcome_by_one_further_call(client: redis.Redis, tmp_path: Path) -> None:
    dead = Kept(client, "a", "b", "c", folder=tmp_path)
    dead.keeper.turn()
    producers = [each.tenure.leader for each in dead.contenders]
    for contender in dead.contenders[:2]:
        contender.backlog.close()
    kept = Kept(client, "a", "b", "c", folder=tmp_path)
    kept.keeper.turn()
    assert (kept.calls(), kept.leads) == (["take a b c", "take a b"], [True, True, False])
    assert kept.contenders[2].claim._rival.seen == Held(producers[2], "1")


def test_while_another_leads_a_turn_writes_nothing_and_a_takeover_nothing_before_it_asks(
    client: redis.Redis, tmp_path: Path
) -> None:
    leading, kept = (Kept(client, "a", "b", folder=tmp_path) for _ in range(2))
    leading.keeper.turn()
    kept.keeper.turn()
    files = [each.backlog._store._own._file for each in kept.contenders]  # type: ignore[union-attr]
    changes = [file._connection.total_changes for file in files]
    for _ in range(3):
        kept.keeper.turn()
    leading.keeper.release(Deadline(10.0))
    assert [file._connection.total_changes for file in files] == changes
    assert not any(claim.unprepared for claim in (each.claim for each in kept.contenders))
    kept.keeper.turn()
    assert kept.leads == [True, True]


def test_one_that_is_added_is_tried_for_and_one_that_is_removed_is_given_back_and_forgotten(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b")
    kept.keeper.turn()
    kept.calls()
    kept.keeper.add(Contender(client, feed="c").claim)
    kept.keeper.turn()
    assert kept.calls() == ["take c"]
    kept.keeper.remove("a")
    assert (kept.calls(), kept.leads) == (["release a"], [False, True])
    assert client.hget(KEYS.feed("", "a"), "leader") == b""
    kept.clock.now += 20.0
    kept.keeper.turn()
    assert kept.calls() == ["renew b c"]
    kept.keeper.remove("nobody's")
    assert kept.calls() == []


def test_a_spool_is_given_back_before_the_lead_which_may_be_anothers_by_then(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b")
    kept.keeper.turn()
    kept.calls()
    seen: list[list[str]] = []
    kept.keeper.remove("a", close=lambda: seen.append(kept.calls()))
    assert (seen, kept.calls()) == ([[]], ["release a"])
    [contender] = kept.contenders[1:]
    kept.keeper.remove("b", close=lambda: client.hset(KEYS.feed("", "b"), "leader", "another"))
    assert (kept.calls(), contender.of(LeaseReleased)) == (["release b"], [])
    assert client.hget(KEYS.feed("", "b"), "leader") == b"another"


def test_what_cannot_be_given_back_is_renewed_no_more_all_the_same(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b")
    kept.keeper.turn()
    kept.calls()
    kept.leases.away = True
    kept.keeper.remove("a")
    kept.leases.away = False
    kept.clock.now += 20.0
    kept.keeper.turn()
    assert kept.calls() == ["release a", "renew b"]


def test_what_was_lost_is_tried_for_anew_at_once(client: redis.Redis) -> None:
    kept = Kept(client, "trades")
    kept.keeper.turn()
    first = kept.contenders[0].tenure.leader
    client.hset(FEED_KEY, mapping={"leader": "", "until": "0"})
    kept.contenders[0].tenure.fenced(first)
    kept.calls()
    kept.keeper.turn()
    assert kept.calls() == ["take trades"]
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
    assert kept.calls() == ["release a b"]
    assert [client.hget(KEYS.feed("", feed), "leader") for feed in ("a", "b")] == [b"", b""]


def test_a_turn_that_hangs_on_a_disk_keeps_no_lease_from_being_given_back(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b")
    kept.keeper.turn()
    kept.calls()
    with kept.keeper._turning:
        kept.keeper.release(Deadline(0.2))
    assert kept.calls() == ["release a b"]


def test_a_redis_that_does_not_answer_costs_one_time_out_at_the_end(client: redis.Redis) -> None:
    kept = Kept(client, "a", "b")
    kept.keeper.turn()
    kept.calls()
    kept.leases.away = True
    kept.keeper.release(Deadline(10.0))
    assert kept.calls() == ["release a b"]


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
