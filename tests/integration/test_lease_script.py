"""lease.lua on a real server, operation by operation."""

from __future__ import annotations

import pytest
import redis

from ingest.broker.keys import FORMAT
from ingest.broker.lease import Answer, Bid, Held, Leases, Renewal, Renewed, Spent, Taken, Terms, take_arguments
from ingest.broker.scripts import LEASE
from ingest.errors import BrokerRefused
from tests.support.leases import KEY, KEYS, TERMS, held, let_the_lease_end, take
from tests.support.redis_server import Valkey, on_every_server
from tests.support.waiting import wait_until

pytestmark = on_every_server

THIRTY_DAYS = 30 * 86_400


@pytest.fixture
def client(shared_valkey: Valkey) -> redis.Redis:
    return shared_valkey.client()


@pytest.fixture
def leases(client: redis.Redis) -> Leases:
    return Leases(client, KEYS, "", 60.0)


def release(leases: Leases, producer: str, position: str = "", safe_us: int = 0) -> bool | BrokerRefused:
    [answer] = leases.release([Renewal("trades", producer, position, safe_us)])
    return answer


def taken(answer: Answer) -> Taken:
    assert isinstance(answer, Taken)
    return answer


def lease(client: redis.Redis, *arguments: str) -> list[str]:
    """Call the script itself; return its answer as texts."""
    return [value.decode() for value in client.eval(LEASE.source, 1, KEY, *arguments)]


def assert_refused(answer: object, why: str) -> None:
    assert isinstance(answer, BrokerRefused)
    assert why in str(answer)


def take_again(client: redis.Redis, producer: str) -> list[str]:
    """Take as after a Redis that forgot."""
    [answer] = client.eval(LEASE.source, 1, KEY, *take_arguments([Bid("trades", producer, TERMS)], again=True))
    return [value.decode() for value in answer]


def attach(client: redis.Redis, producer: str, base: str, nonce: str = "nonce") -> list[str]:
    return lease(client, "attach", producer, nonce, base, str(FORMAT))


class TestTake:
    def test_where_nobody_ever_led_it_is_granted_and_everything_is_written(self, client: redis.Redis, leases: Leases) -> None:
        before = client.time()[0] * 1000
        assert take(leases, "a") == Taken(1, "", 0, "", 0, 0)
        found = held(client)
        assert before <= int(found.pop("seen")) <= before + 60_000
        assert before + 60_000 <= int(found.pop("until")) <= before + 120_000
        expected = {"leader": "a", "last": "a", "before": "", "epoch": "1", "beat": "1", "what": "url", "p.a": "1::0"}
        assert found == {"format": str(FORMAT), **expected}
        assert client.ttl(KEY) == -1

    def test_while_another_leads_nothing_is_written(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        before = held(client)
        assert take(leases, "b") == Held("a", "1")
        assert take(leases, "b", terms=Terms(60.0, "another url")) == Held("a", "1", is_other=True)
        assert held(client) == before

    def test_by_the_leader_itself_it_only_lasts_longer(self, client: redis.Redis, leases: Leases) -> None:
        first = take(leases, "a")
        let_the_lease_end(client)
        client.hset(KEY, "p.a", "1:nonce:8")
        again = taken(take(leases, "a"))
        assert (again.epoch, again.before) == (taken(first).epoch, "")
        found = held(client)
        assert (found["p.a"], found["beat"], found["epoch"]) == ("1:nonce:8", "2", "1")
        assert int(found["until"]) > 1

    def test_again_after_a_lost_reply_it_tells_the_same_before(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        release(leases, "a", '{"at":7}')
        first = taken(take(leases, "b"))
        again = taken(take(leases, "b"))
        assert (first.before, again.before, again.epoch) == ("a", "a", 2)
        assert again.position == '{"at":7}'

    def test_one_that_led_never_leads_again_after_another_though_nobody_leads(self, client: redis.Redis, leases: Leases) -> None:
        """What it still holds would come after what the other read: also by a call of its own that is executed late."""
        take(leases, "a")
        release(leases, "a")
        take(leases, "b")
        release(leases, "b")
        before = held(client)
        assert take(leases, "a") == Spent()
        assert take_again(client, "a") == ["spent", "", ""]
        assert leases.renew([Renewal("trades", "a")]) == [Renewed("fenced", leader="b")]
        assert held(client) == before
        assert taken(take(leases, "c")).before == "b"

    def test_a_lead_that_its_dead_process_never_knew_of_overtakes_nobody(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        client.hset(KEY, "p.a", "1:nonce:41")
        take(leases, "ghost", seen=Held("a", "1"))
        [answer] = leases.take([Bid("trades", "b", TERMS, ghosts=["other", "ghost"])])
        assert (taken(answer).epoch, taken(answer).before, taken(answer).last_seq) == (3, "a", 41)
        found = held(client)
        assert (found["leader"], found["last"], found["before"]) == ("b", "b", "a")
        assert "p.ghost" not in found
        assert take(leases, "ghost") == Held("b", found["beat"])

    def test_nor_does_it_once_it_has_given_that_lead_up(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        take(leases, "ghost", seen=Held("a", "1"))
        release(leases, "ghost")
        [answer] = leases.take([Bid("trades", "b", TERMS, ghosts=["ghost"])])
        assert taken(answer).before == "a"

    @pytest.mark.parametrize("taken_leave", [False, True])
    def test_one_that_enqueued_something_is_no_ghost_whatever_its_spool_says(
        self, client: redis.Redis, leases: Leases, taken_leave: bool
    ) -> None:
        take(leases, "a")
        take(leases, "ghost", seen=Held("a", "1"))
        client.hset(KEY, "p.ghost", "2:nonce:1")
        if taken_leave:
            assert client.eval(LEASE.source, 1, KEY, "done", "ghost") == 1
        let_the_lease_end(client)
        [answer] = leases.take([Bid("trades", "b", TERMS, ghosts=["ghost"])])
        assert (taken(answer).before, taken(answer).last_seq) == ("ghost", 1)

    def test_a_ghost_after_which_another_led_changes_nothing(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "ghost")
        take(leases, "a", seen=Held("ghost", "1"))
        before = held(client)
        [answer] = leases.take([Bid("trades", "b", TERMS, ghosts=["ghost"])])
        assert answer == Held("a", "2")
        assert held(client) == before

    def test_a_ghost_before_which_the_bidder_led_unknowingly_hides_nobody(self, client: redis.Redis, leases: Leases) -> None:
        """A late bid of a dead process that came after one of ours whose answer was lost: who led before both is not known."""
        take(leases, "a")
        take(leases, "b", seen=Held("a", "1"))
        let_the_lease_end(client)
        take(leases, "ghost")
        [answer] = leases.take([Bid("trades", "b", TERMS, ghosts=["ghost"])])
        assert answer == Spent()
        [answer] = leases.take([Bid("trades", "c", TERMS, ghosts=["ghost", "b"])])
        assert taken(answer).before == "b"

    def test_since_when_frames_may_be_missing_is_known_though_two_leaders_died_before_they_said_anything(
        self, client: redis.Redis, leases: Leases
    ) -> None:
        take(leases, "a")
        first = int(held(client)["seen"])
        wait_until(lambda: int(client.time()[0] * 1000 + client.time()[1] // 1000) > first + 5, 10, "a later time")
        take(leases, "b", seen=Held("a", "1"))
        assert int(held(client)["seen"]) > first
        assert taken(take(leases, "c", seen=Held("b", "2"))).safe_us == first * 1000

    def test_when_its_time_is_over_another_may_lead(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        client.hset(KEY, "p.a", "1:nonce:41")
        seen = int(held(client)["seen"]) * 1000
        let_the_lease_end(client)
        assert take(leases, "b") == Taken(2, "a", seen, "", 41, 0)
        assert held(client)["p.b"] == "2::0"

    def test_a_short_lease_ends_by_itself(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a", terms=Terms(0.001, "url"))
        assert wait_until(lambda: isinstance(take(leases, "b"), Taken), 10, "the end of a millisecond")

    @pytest.mark.parametrize(
        ("seen", "granted"),
        [
            (Held("a", "2"), True),
            (Held("a", "1"), False),
            (Held("z", "2"), False),
            (Held("", ""), False),
        ],
    )
    def test_of_a_leader_known_to_be_dead_name_and_beat_must_still_be_those(
        self, client: redis.Redis, leases: Leases, seen: Held, granted: bool
    ) -> None:
        take(leases, "a")
        leases.renew([Renewal("trades", "a")])
        assert isinstance(take(leases, "b", seen), Taken) is granted

    def test_once_nobody_leads_another_feed_of_the_name_takes_over_and_writes_its_own(
        self, client: redis.Redis, leases: Leases
    ) -> None:
        take(leases, "a")
        release(leases, "a")
        assert isinstance(take(leases, "b", terms=Terms(60.0, "another url")), Taken)
        assert held(client)["what"] == "another url"

    def test_again_after_redis_forgot_it_leaves_no_position(self, client: redis.Redis, leases: Leases) -> None:
        assert take_again(client, "a")[0] == "taken"
        assert "p.a" not in held(client)
        assert attach(client, "a", "")[0] == "unknown"

    def test_producers_of_long_ago_go_and_others_stay(self, client: redis.Redis, leases: Leases) -> None:
        client.hset(KEY, mapping={"epoch": "1500", "p.old": "500:n:7", "p.kept": "501:n:7", "p.late": "0:n:7"})
        take(leases, "a")
        assert {name for name in held(client) if name.startswith("p.")} == {"p.kept", "p.a"}

    def test_a_key_of_another_type_is_refused_in_words(self, client: redis.Redis, leases: Leases) -> None:
        client.set(KEY, "not ours")
        assert_refused(take(leases, "a"), "WRONGTYPE")

    def test_many_are_taken_in_one_call_and_each_gets_its_own_answer(self, client: redis.Redis, leases: Leases) -> None:
        leases.take([Bid("b", "other", TERMS), Bid("d", "gone", TERMS), Bid("f", "other", TERMS)])
        leases.release([Renewal("d", "gone", '{"at":3}', 7)])
        client.set(KEYS.feed("", "c"), "somebody's")
        client.hset(KEYS.feed("", "e"), mapping={"leader": "x", "until": "not a number"})
        wanted = [Bid(feed, f"mine {feed}", Terms(30.0 + at, feed)) for at, feed in enumerate("abcde")]
        wanted.append(Bid("f", "mine f", TERMS, Held("other", "1")))
        a, b, c, d, e, f = leases.take(wanted)
        assert (a, b, taken(f).before) == (Taken(1, "", 0, "", 0, 0), Held("other", "1", is_other=True), "other")
        assert (taken(d).before, taken(d).position, taken(d).safe_us) == ("gone", '{"at":3}', 7)
        assert_refused(c, "WRONGTYPE")
        assert_refused(e, "attempt to compare")
        for feed, milliseconds in (("a", 30_000), ("d", 33_000)):
            found = client.hmget(KEYS.feed("", feed), "leader", "what", "until", "seen")
            assert [value.decode() for value in found[:2]] == [f"mine {feed}", feed]
            assert int(found[2]) - int(found[3]) == milliseconds

    def test_out_of_memory_each_is_refused_in_words_and_nothing_is_written(self, client: redis.Redis, leases: Leases) -> None:
        leases.take([Bid("b", "other", TERMS)])
        before = client.hgetall(KEYS.feed("", "b"))
        client.config_set("maxmemory", 1)
        try:
            a, b, c = leases.take([Bid(feed, "me", TERMS) for feed in "abc"])
        finally:
            client.config_set("maxmemory", 0)
        assert b == Held("other", "1")
        for refused in (a, c):
            assert_refused(refused, "OOM")
        assert (client.hgetall(KEYS.feed("", "b")), client.exists(KEYS.feed("", "a"), KEYS.feed("", "c"))) == (before, 0)


class TestRenew:
    def test_each_feed_gets_its_own_answer(self, client: redis.Redis, leases: Leases) -> None:
        leases.take([Bid(feed, "me", TERMS) for feed in ("a", "b")])
        client.hset(KEYS.feed("", "a"), "p.me", "1:nonce:12")
        leases.take([Bid("c", "another", TERMS)])
        renewals = [Renewal(feed, "me") for feed in ("c", "a", "d", "b")]
        assert leases.renew(renewals) == [
            Renewed("fenced", leader="another"),
            Renewed("ok", 12),
            Renewed("gone"),
            Renewed("ok", 0),
        ]
        assert client.exists(KEYS.feed("", "d")) == 0

    def test_what_somebody_else_has_written_there_is_refused_and_nothing_worse(self, leases: Leases, client: redis.Redis) -> None:
        client.hset(KEY, mapping={"last": "x", "epoch": "3", "position": b"\xff"})
        assert_refused(take(leases, "a"), "what is kept of feed trades is not ours")

    def test_a_key_that_is_no_hash_any_more_costs_its_own_feed_alone(self, leases: Leases, client: redis.Redis) -> None:
        leases.take([Bid(feed, "me", TERMS) for feed in ("a", "b", "c")])
        client.set(KEYS.feed("", "b"), "somebody's")
        beats = [client.hget(KEYS.feed("", feed), "beat") for feed in ("a", "c")]
        assert leases.renew([Renewal(feed, "me") for feed in ("a", "b", "c")]) == [
            Renewed("ok", 0),
            Renewed("gone"),
            Renewed("ok", 0),
        ]
        assert [client.hget(KEYS.feed("", feed), "beat") for feed in ("a", "c")] != beats
        [refused] = leases.take([Bid("b", "me", TERMS)])
        assert_refused(refused, "WRONGTYPE")

    def test_it_lasts_longer_and_shows_life(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        client.hset(KEY, mapping={"until": "1", "seen": "1"})
        leases.renew([Renewal("trades", "a")])
        found = held(client)
        assert (found["beat"], int(found["until"]) - int(found["seen"])) == ("2", 60_000)

    def test_a_position_is_kept_and_none_takes_nothing_away(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        leases.renew([Renewal("trades", "a", '{"at":1}')])
        leases.renew([Renewal("trades", "a")])
        assert held(client)["position"] == '{"at":1}'

    def test_a_producer_that_redis_does_not_know_is_told_and_not_made_up(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        client.hdel(KEY, "p.a")
        assert leases.renew([Renewal("trades", "a")]) == [Renewed("ok", None)]
        assert "p.a" not in held(client)

    def test_after_the_end_of_its_time_it_is_still_good_if_nobody_took_it(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        let_the_lease_end(client)
        assert leases.renew([Renewal("trades", "a")]) == [Renewed("ok", 0)]


class TestAttach:
    def test_makes_calls_of_before_void_by_a_fresh_nonce_under_the_present_epoch(
        self, client: redis.Redis, leases: Leases
    ) -> None:
        take(leases, "a")
        client.hset(KEY, "p.late", "0:old:9")
        assert attach(client, "late", "", "fresh") == ["known", "1:fresh:", "9"]
        assert held(client)["p.late"] == "1:fresh:9"

    def test_unknown_without_a_base_it_writes_nothing(self, client: redis.Redis) -> None:
        assert attach(client, "a", "") == ["unknown", "", "0"]
        assert client.exists(KEY) == 0

    def test_a_base_is_for_one_that_is_unknown_alone(self, client: redis.Redis) -> None:
        assert attach(client, "a", "7") == ["known", "0:nonce:", "7"]
        assert attach(client, "a", "3", "later") == ["known", "0:later:", "7"]

    def test_where_nobody_leads_it_expires_and_a_lead_keeps_it(self, client: redis.Redis, leases: Leases) -> None:
        attach(client, "a", "7")
        assert THIRTY_DAYS - 60 < client.ttl(KEY) <= THIRTY_DAYS
        take(leases, "b")
        attach(client, "a", "")
        assert client.ttl(KEY) == -1


class TestEnd:
    def test_a_release_that_leaves_no_producer_leaves_a_trace_for_thirty_days(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        assert client.eval(LEASE.source, 1, KEY, "done", "a") == 1
        assert release(leases, "a", '{"at":9}', 1_790_000_000_000_000)
        found = held(client)
        assert (found["leader"], found["until"], found["last"], found["position"]) == ("", "0", "a", '{"at":9}')
        assert int(found["seen"]) > 0
        assert THIRTY_DAYS - 60 < client.ttl(KEY) <= THIRTY_DAYS
        successor = taken(take(leases, "b"))
        assert (successor.before, successor.safe_us) == ("a", 1_790_000_000_000_000)
        assert client.ttl(KEY) == -1

    def test_one_that_leaves_a_producer_does_not_expire(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        assert release(leases, "a")
        assert (client.ttl(KEY), held(client)["p.a"]) == (-1, "1::0")

    def test_a_release_without_a_position_keeps_the_one_before(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        leases.renew([Renewal("trades", "a", "1")])
        release(leases, "a")
        assert held(client)["position"] == "1"

    def test_many_are_given_back_in_one_call_and_what_is_wrong_with_one_is_its_own_trouble(
        self, client: redis.Redis, leases: Leases
    ) -> None:
        leases.take([Bid(feed, "me", TERMS) for feed in "abd"])
        leases.take([Bid("c", "another", TERMS)])
        client.set(KEYS.feed("", "b"), "somebody's")
        a, b, c, d = leases.release([Renewal(feed, "me", f'"{feed}"', at) for at, feed in enumerate("abcd", 1)])
        assert (a, c, d) == (True, False, True)
        assert_refused(b, "WRONGTYPE")
        found = [client.hmget(KEYS.feed("", feed), "leader", "position", "safe") for feed in "acd"]
        assert found == [[b"", b'"a"', b"1"], [b"another", None, None], [b"", b'"d"', b"4"]]

    def test_what_another_leads_cannot_be_given_back(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        before = held(client)
        assert not release(leases, "b")
        assert held(client) == before

    def test_done_forgets_the_producer_and_says_whether_it_was_known(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        assert [client.eval(LEASE.source, 1, KEY, "done", "a") for _ in range(2)] == [1, 0]
        assert held(client)["leader"] == "a"

    def test_how_far_a_producer_came_that_is_done_is_told_to_the_next(self, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        client.hset(KEY, "p.a", "1:nonce:8")
        assert [client.eval(LEASE.source, 1, KEY, "done", "a") for _ in range(2)] == [1, 0], "a reply may be lost"
        release(leases, "a")
        first = taken(take(leases, "b"))
        assert (first.before, first.last_seq) == ("a", 8)
        assert taken(take(leases, "b")).last_seq == 8, "its reply was lost"
        client.eval(LEASE.source, 1, KEY, "done", "a")  # of one that has been overtaken: nobody asks
        release(leases, "b")
        assert taken(take(leases, "c")).last_seq == 0, "that of b, which came nowhere"

    def test_an_operation_that_does_not_exist_is_an_error(self, client: redis.Redis) -> None:
        with pytest.raises(redis.ResponseError, match="unknown operation"):
            lease(client, "steal", "a")
