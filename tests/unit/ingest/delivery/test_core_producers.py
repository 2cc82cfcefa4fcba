"""The publisher's decisions where producers, leases and lines change: what it then knows, and what it may not believe."""

from __future__ import annotations

import pytest

from ingest.broker.line import Joined, Reply
from ingest.delivery.chain import Chain
from ingest.delivery.core import GRACE, MOST_REFUSALS, PATIENCE
from ingest.delivery.steps import Effect, Join, Reject, Send
from ingest.errors import ForeignWriter
from ingest.events import QueueForgotten
from tests.support.cores import CUT, chain_sent_to, joined_core, kinds, make_core, recorded_by, refused


class TestProducers:
    def test_what_an_earlier_process_left_may_stand_anywhere_in_redis(self) -> None:
        core = make_core()
        core.follow(Chain("old", confirmed=40, earlier=True), 0.0)
        assert core.next(0.0, True) == Join(None)
        assert core.joined(Joined(70), 0.0) == Effect(commit=70, rewind=True)
        assert core.sent(71, 80, 10, 0.0) == 70
        core.failed(CUT, 1.0)
        assert core.joined(Joined(80), 2.0).commit == 80

    def test_of_an_earlier_process_nobody_knows_since_when_it_may_be_forgotten(self) -> None:
        core = make_core()
        core.follow(Chain("old", confirmed=40, earlier=True), 0.0)
        core.joined(Joined(None), 0.0)
        gap = recorded_by(core, 0.0)
        assert (gap.producer, gap.last_seq, gap.from_us) == ("old", 0, 0)

    def test_turning_to_another_producer_forgets_what_was_about_the_first(self) -> None:
        core = joined_core()
        for _ in range(MOST_REFUSALS):
            core.sent(1, 1, 1, 0.0)
            core.replied(refused("ERR"), 0.0)
            core.joined(Joined(0), 99.0)
        assert isinstance(core.next(99.0, True), Reject)
        core.follow(Chain("next", confirmed=7), 100.0)
        assert core.next(100.0, True) == Join(None)
        core.joined(Joined(7), 100.0)
        assert isinstance(core.next(100.0, True), Send)
        assert (core.confirmed, core.sent(8, 9, 2, 100.0)) == (7, 7)

    def test_a_call_still_under_way_is_not_the_next_producers(self) -> None:
        core = joined_core()
        core.sent(1, 500, 500, 0.0)
        assert core.under_way
        core.follow(Chain("next"), 1.0)
        assert not core.under_way
        core.joined(Joined(0), 1.0)
        assert core.next(1.0, True) == Send(1000, 1_000_000), "its line did not break"

    def test_under_another_lease_what_was_sent_before_may_be_in_redis(self) -> None:
        core = make_core()
        core.follow(chain_sent_to(9, confirmed=3), 0.0)
        assert core.joined(Joined(9), 0.0).commit == 9
        core.follow(chain_sent_to(9, confirmed=3), 0.0)
        with pytest.raises(ForeignWriter):
            core.joined(Joined(10), 0.0)

    def test_what_was_sent_once_and_waits_again_may_be_in_redis_too(self) -> None:
        """By a call that was given up, and became valid again with an older state of Redis."""
        core, chain = make_core(), chain_sent_to(9, confirmed=3)
        chain.rewind()
        core.follow(chain, 0.0)
        assert core.joined(Joined(9), 0.0).commit == 9

    def test_a_redis_that_counts_fewer_acquisitions_than_we_know_of_has_forgotten(self) -> None:
        """So it looks where a call of ours that was long given up asks an empty Redis for the lead."""
        core = make_core()
        core.follow(Chain("p", 3), 0.0)
        effect = core.joined(Joined(0, epoch=1), 0.0)
        assert kinds(effect) == [QueueForgotten]
        assert recorded_by(core, 0.0).cause == "forgotten"
        core.recorded()
        assert core.joined(Joined(0, epoch=1), 0.0) == Effect(commit=0, rewind=True), "told once"

    def test_a_join_that_finds_another_leader_says_so_and_believes_nothing_else(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        core.failed(CUT, 1.0)
        assert core.joined(Joined(None, fenced=True), 2.0) == Effect(fenced=True)
        assert core.next(9.0, True) == Join(None)

    def test_a_call_that_others_were_answered_long_after_is_passed_over(self) -> None:
        core = joined_core()
        assert not core.is_passed_over(9.0, 5.0), "nothing is under way"
        core.sent(1, 5, 5, 10.0)
        core.sent(6, 9, 4, 10.9)
        assert not core.is_passed_over(20.0, 9.0), "they were answered before"
        assert not core.is_passed_over(20.0, 10.0 + PATIENCE - 0.1), "not long after"
        assert not core.is_passed_over(11.5 + GRACE - 0.1, 11.5), "ours may be on its way"
        assert core.is_passed_over(11.5 + GRACE, 11.5)
        core.replied(Reply("ok", 5), 11.6)
        assert not core.is_passed_over(11.9, 11.7), "the line has just shown life"

    def test_a_call_that_was_fenced_is_asked_about(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        core.sent(6, 9, 4, 0.0)
        assert core.replied(Reply("fenced"), 1.0) == Effect()
        assert core.replied(Reply("fenced"), 1.0) == Effect()
        assert core.next(9.0, True) == Join(None)

    def test_redis_is_away_after_a_second_failure_and_until_it_is_joined(self) -> None:
        core = joined_core()
        core.failed(CUT, 1.0)
        assert not core.away
        core.failed(CUT, 2.0)
        assert core.away
        core.joined(Joined(0), 3.0)
        assert not core.away
