"""A claim: its candidate, who stands in the way, and what a change of lead means for what is held; with real leases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from ingest.broker.clients import make_client
from ingest.broker.lease import Answer, Bid, Leases, Taken
from ingest.clock import wall_us
from ingest.connection.gaps import Before
from ingest.events import (
    BrokerRecovered,
    BrokerUnavailable,
    FeedNameTaken,
    GapFound,
    LeaseLost,
    LeaseReleased,
    LeaseTaken,
    StandingBy,
)
from ingest.service.rival import TELL_INTERVAL
from tests.support.claims import FEED_KEY, KEYS, Contender
from tests.support.redis_server import Valkey
from tests.support.spools import entries


@pytest.fixture
def client(shared_valkey: Valkey) -> redis.Redis:
    return shared_valkey.client()


def ends(contender: Contender, *, stored: int = 0) -> None:
    """Let a process that leads die without a word, with so many messages on disk."""
    if stored:
        contender.backlog.put(contender.backlog.chains[-1], entries(1, stored))
        contender.backlog.save(keeps=True)
    contender.backlog.close()


class TestTaking:
    def test_the_first_leads_and_there_is_no_time_before(self, client: redis.Redis) -> None:
        one = Contender(client)
        assert one.attempt()
        [taken] = one.of(LeaseTaken)
        assert (taken.producer, taken.before) == (one.tenure.leader, "")
        assert client.hget(FEED_KEY, "leader").decode() == taken.producer
        assert one.tenure.enter() is None
        assert [chain.producer for chain in one.entered] == [taken.producer]
        assert (one.entered[0].epoch, one.changes) == (1, 1)

    def test_the_second_stands_by_and_says_so_now_and_then(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        for _ in range(3):
            one.renew()
            assert not two.attempt()
            two.clock.now += TELL_INTERVAL - 1
        told = two.of(StandingBy)
        assert [(each.leader, each.seconds) for each in told] == [
            (one.tenure.leader, 0.0),
            (one.tenure.leader, 2 * (TELL_INTERVAL - 1)),
        ]

    def test_who_leads_is_known_to_both_and_to_nobody_before_the_first_answer(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        assert (one.claim.lease, one.claim.leader) == ("none", "")
        one.attempt()
        two.attempt()
        assert (one.claim.lease, one.claim.leader) == ("leads", one.tenure.leader)
        assert (two.claim.lease, two.claim.leader) == ("stands_by", one.tenure.leader)
        other = Contender(client, what="another url")
        other.attempt()
        assert (other.claim.lease, other.claim.leader) == ("none", one.tenure.leader), "it leads another feed of that name"
        one.release()
        two.attempt()
        assert (two.claim.lease, two.claim.leader) == ("leads", two.tenure.leader)

    def test_given_back_the_next_need_not_wait_and_knows_how_far_it_was(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        first = one.tenure.leader
        two.attempt()
        one.places.append((0, '{"offset": 7}'))
        client.hset(FEED_KEY, f"p.{first}", "1:nonce:41")
        one.release()
        assert two.attempt()
        before = two.tenure.enter()
        assert before is not None
        assert (before.cause, before.producer, before.last_seq, before.position) == ("failover", first, 41, {"offset": 7})
        assert before.from_us > 1_600_000_000_000_000

    @pytest.mark.parametrize("ahead", ["safe", "both"])
    def test_a_gap_does_not_begin_in_the_future_where_the_leaders_clock_was_ahead(self, client: redis.Redis, ahead: str) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        seen_us = int(client.hget(FEED_KEY, "seen") or 0) * 1000
        tomorrow = wall_us() + 86_400 * 1_000_000
        client.hset(FEED_KEY, mapping={"leader": "", "safe": tomorrow})
        if ahead == "both":
            client.hset(FEED_KEY, "seen", tomorrow // 1000)
        assert two.attempt()
        before = two.tenure.enter()
        assert before is not None
        assert seen_us <= before.from_us <= (seen_us if ahead == "safe" else wall_us())

    def test_what_a_dead_process_was_granted_without_its_knowing_overtakes_nothing_in_the_spool(
        self, client: redis.Redis, tmp_path: Path
    ) -> None:
        one = Contender(client, tmp_path)
        one.attempt()
        first = one.tenure.leader
        ends(one, stored=5)
        ghost = Contender(client, tmp_path)
        ghost.claim.prepare()
        bid = ghost.claim.bid_against(ghost.leases.take([ghost.claim.bid()])[0])
        assert bid is not None
        [answer] = ghost.leases.take([bid])  # and it never hears of it
        assert isinstance(answer, Taken)
        ends(ghost)
        last = Contender(client, tmp_path)
        assert last.attempt()
        before = last.tenure.enter()
        assert before is not None
        assert (before.cause, before.producer) == ("restart", first)
        assert [(chain.producer, chain.late) for chain in last.backlog.chains] == [(first, False), (last.tenure.leader, False)]

    def test_what_is_given_back_between_the_last_look_and_the_lead_is_found(self, client: redis.Redis, tmp_path: Path) -> None:
        one, two = Contender(client, tmp_path), Contender(client, tmp_path)
        one.attempt()
        first = one.tenure.leader
        two.claim.prepare()
        ends(one, stored=5)
        one.release()
        two.claim.answered(two.leases.take([two.claim.bid()])[0])
        two.claim.begin()
        assert [(chain.producer, chain.late) for chain in two.backlog.chains] == [(first, False), (two.tenure.leader, False)]

    def test_to_give_it_back_is_told(self, client: redis.Redis) -> None:
        one = Contender(client)
        one.release()
        assert one.of(LeaseReleased) == [], "there was nothing to give"
        one.attempt()
        one.release()
        assert [event.producer for event in one.of(LeaseReleased)] == [one.tenure.leader]

    def test_a_position_that_is_no_json_is_left_out(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        one.places.append((0, "{broken"))
        one.release()
        two.attempt()
        before = two.tenure.enter()
        assert before is not None
        assert before.position is None

    def test_another_feed_of_the_same_name_is_told_loudly_with_the_remedy(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client, what="another url")
        one.attempt()
        assert not two.attempt()
        [event] = two.of(FeedNameTaken)
        assert event.leader == one.tenure.leader
        assert "[supervisor] group" in event.detail
        assert two.of(StandingBy) == []
        assert (one.claim.is_name_taken, two.claim.is_name_taken) == (False, True)
        one.release()
        assert two.attempt(), "once nobody leads it takes over"
        assert not two.claim.is_name_taken

    def test_another_process_with_the_same_feed_takes_no_name(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        two.attempt()
        assert (two.claim.lease, two.claim.is_name_taken) == ("stands_by", False)

    def test_not_leading_it_has_nothing_to_renew_or_to_give_back(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        two.attempt()
        assert two.claim.renewal() is None
        two.release()
        assert client.hget(FEED_KEY, "leader").decode() == one.tenure.leader


class TestSilence:
    def test_a_leader_without_a_sign_of_life_for_its_time_is_dead_by_our_own_clock(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        assert not two.attempt()
        two.clock.now += 59.9
        assert not two.attempt()
        two.clock.now += 0.2
        assert two.attempt()
        assert client.hget(FEED_KEY, "leader").decode() == two.tenure.leader

    def test_any_sign_of_life_begins_the_watch_anew(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        two.attempt()
        for _ in range(5):
            two.clock.now += 59.0
            one.renew()
            assert not two.attempt()
        two.clock.now += 60.1
        assert two.attempt()

    def test_one_that_comes_back_just_in_time_keeps_the_lead(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        two.attempt()
        two.clock.now += 61.0
        one.renew()
        assert not two.attempt(), "the beat is no longer the one that was watched"


class TestFenced:
    def test_renewing_shows_that_another_leads(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        chain = one.backlog.chains[0]
        one.backlog.put(chain, entries(1, 3))
        two.attempt()
        two.clock.now += 61.0
        two.attempt()
        one.renew()
        [lost] = one.of(LeaseLost)
        assert (lost.leader, lost.held) == (two.tenure.leader, 3)
        assert chain.late
        assert not one.claim.leads

    def test_who_has_led_and_lost_asks_as_another(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        first = one.tenure.leader
        one.tenure.fenced(first)
        client.hset(FEED_KEY, mapping={"leader": "", "until": "0"})
        assert one.attempt()
        assert one.tenure.leader != first
        assert [taken.before for taken in one.of(LeaseTaken)] == ["", first]
        assert not two.attempt()

    def test_what_is_held_is_late_as_soon_as_a_leader_is_seen(self, client: redis.Redis, tmp_path: Path) -> None:
        old = Contender(client, tmp_path)
        old.attempt()
        old.backlog.put(old.backlog.chains[0], entries(1, 2))
        old.release()
        ends(old, stored=2)
        Contender(client).attempt()
        late = Contender(client, tmp_path)
        assert [chain.late for chain in late.backlog.chains] == [False]
        assert not late.attempt()
        assert [chain.late for chain in late.backlog.chains] == [True]


class TestRestart:
    def test_a_process_does_not_wait_for_its_own_ghost(self, client: redis.Redis, tmp_path: Path) -> None:
        dead = Contender(client, tmp_path)
        dead.attempt()
        first = dead.tenure.leader
        ends(dead, stored=3)
        again = Contender(client, tmp_path)
        assert again.attempt(), "without a second of waiting"
        before = again.tenure.enter()
        assert isinstance(before, Before)
        assert (before.cause, before.producer, before.last_seq) == ("restart", first, 3)
        assert [(chain.producer, chain.late) for chain in again.backlog.chains[:-1]] == [(first, False)]

    def test_a_standby_that_shares_the_folder_takes_over_what_the_dead_leader_left(
        self, client: redis.Redis, tmp_path: Path
    ) -> None:
        leader, standby = Contender(client, tmp_path), Contender(client, tmp_path)
        leader.attempt()
        first = leader.tenure.leader
        assert not standby.attempt()
        ends(leader, stored=3)
        assert standby.attempt()
        assert [chain.producer for chain in standby.backlog.chains] == [first, standby.tenure.leader]
        assert len(standby.backlog) == 3

    def test_gap_records_that_a_dead_process_left_are_taken_up_once(self, client: redis.Redis, tmp_path: Path) -> None:
        leader, standby = Contender(client, tmp_path), Contender(client, tmp_path)
        leader.attempt()
        standby.attempt()
        assert leader.backlog.save_gaps([b"a gap"])
        ends(leader)
        standby.attempt()
        standby.attempt()
        assert standby.gaps == [b"a gap"]

    def test_what_a_process_left_that_others_have_overtaken_is_late(self, client: redis.Redis, tmp_path: Path) -> None:
        old, between = Contender(client, tmp_path), Contender(client)
        old.attempt()
        old.release()
        ends(old, stored=2)
        between.attempt()
        between.release()
        again = Contender(client, tmp_path)
        assert again.attempt()
        assert [chain.late for chain in again.backlog.chains] == [True, False]
        before = again.tenure.enter()
        assert before is not None
        assert before.cause == "failover"

    def test_a_candidate_whose_answer_was_lost_asks_as_the_same(self, client: redis.Redis, shared_valkey: Valkey) -> None:
        one = Contender(client)
        real = one.leases

        class Losing(Leases):
            def take(self, bids: Sequence[Bid]) -> list[Answer]:
                real.take(bids)
                return super().take(bids)

        one.leases = Losing(make_client("redis://127.0.0.1:1/0"), KEYS, "", 60.0)
        assert not one.attempt()
        one.leases = real
        assert one.attempt()
        assert client.hget(FEED_KEY, "epoch") == b"1"
        assert [taken.before for taken in one.of(LeaseTaken)] == [""]


class TestForgetting:
    @pytest.mark.parametrize("forget", ["everything", "the lead", "the producer", "the newest messages"])
    def test_a_renewal_shows_it_and_the_publisher_has_to_ask(self, client: redis.Redis, forget: str) -> None:
        one = Contender(client)
        one.attempt()
        field = f"p.{one.tenure.leader}"
        client.hset(FEED_KEY, field, "1:nonce:9")
        one.backlog.commit(one.backlog.chains[0], 9)
        one.renew()
        assert (one.doubts.count, one.doubts.heard) == (0, 1), "that Redis answers is told whatever it says"
        if forget == "everything":
            client.flushall()
        elif forget == "the lead":
            client.hdel(FEED_KEY, "leader")
        elif forget == "the producer":
            client.hdel(FEED_KEY, field)
        else:
            client.hset(FEED_KEY, field, "1:nonce:8")
        one.renew()
        assert (one.doubts.count, one.claim.leads) == (1, True)

    def test_one_that_forgot_the_leader_whose_spool_is_here_is_told_of(self, client: redis.Redis, tmp_path: Path) -> None:
        old = Contender(client, tmp_path)
        old.attempt()
        first = old.tenure.leader
        old.release()
        ends(old)
        client.flushall()
        again = Contender(client, tmp_path)
        assert again.attempt()
        [gap] = again.of(GapFound)
        assert (gap.cause, gap.producer, gap.feed) == ("forgotten", first, "trades")

    def test_of_a_producer_whose_messages_are_here_it_is_told_when_that_is_attached(
        self, client: redis.Redis, tmp_path: Path
    ) -> None:
        old = Contender(client, tmp_path)
        old.attempt()
        ends(old, stored=2)
        client.flushall()
        again = Contender(client, tmp_path)
        assert again.attempt()
        assert again.of(GapFound) == []
        assert [chain.late for chain in again.backlog.chains] == [False, False]

    def test_a_standby_that_has_seen_a_leader_knows_better_than_a_redis_that_forgot_it(self, client: redis.Redis) -> None:
        one, two = Contender(client), Contender(client)
        one.attempt()
        two.attempt()
        client.flushall()
        assert two.attempt()
        [gap] = two.of(GapFound)
        assert (gap.cause, gap.producer) == ("forgotten", one.tenure.leader)


class TestOutage:
    def test_a_redis_that_refuses_is_told_of_once_and_when_it_lets_us_again(self, client: redis.Redis) -> None:
        one = Contender(client)
        client.set(FEED_KEY, "not ours")
        for _ in range(3):
            assert not one.attempt()
            one.clock.now += 2.0
        [event] = one.of(BrokerUnavailable)
        assert "WRONGTYPE" in event.detail
        client.delete(FEED_KEY)
        assert one.attempt()
        assert [event.seconds for event in one.of(BrokerRecovered)] == [6.0]

    def test_one_that_cannot_be_reached_is_told_of_at_the_second_failure(self, client: redis.Redis) -> None:
        away = make_client("redis://127.0.0.1:1/0")
        one, nowhere = Contender(client), Contender(away).leases
        here, one.leases = one.leases, nowhere
        one.attempt()
        assert one.events == []
        one.attempt()
        one.attempt()
        assert [type(event) for event in one.events] == [BrokerUnavailable]
        one.leases = here
        one.attempt()
        assert len(one.of(BrokerRecovered)) == 1

    def test_a_connection_that_fails_once_is_no_outage(self, client: redis.Redis) -> None:
        one = Contender(client)
        here, one.leases = one.leases, Contender(make_client("redis://127.0.0.1:1/0")).leases
        one.attempt()
        one.leases = here
        one.attempt()
        assert one.of(BrokerUnavailable) == one.of(BrokerRecovered) == []
