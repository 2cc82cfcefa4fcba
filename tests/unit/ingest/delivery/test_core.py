"""The publisher's decisions, one answer of Redis at a time."""

from __future__ import annotations

import pytest

from ingest.broker.line import Joined, Reply
from ingest.delivery.core import MOST_REFUSALS, SERVER_CODES, PublisherCore
from ingest.delivery.pacing import POLL_INTERVAL
from ingest.delivery.steps import Effect, Idle, Join, Poll, Receive, Reject, Send, Wait
from ingest.errors import BrokerTimedOut, ForeignWriter
from ingest.events import BrokerRecovered, BrokerUnavailable, GapFound, QueueForgotten
from tests.support.cores import CUT, SINCE_US, joined_core, kinds, make_core, recorded_by, refused


class TestJoining:
    def test_begins_where_the_take_of_the_lead_has_put_it(self) -> None:
        core = make_core()
        assert core.next(0.0, False) == Join(None)
        assert core.joined(Joined(0), 0.0) == Effect(commit=0, rewind=True)
        assert core.next(0.0, False) == Idle()
        assert core.settled
        assert not core.under_way

    def test_a_producer_that_sent_may_not_begin_anew_unnoticed(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        core.failed(CUT, 1.0)
        assert core.next(2.0, True) == Join(None)

    def test_what_was_admitted_without_our_knowing_is_committed(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        core.sent(6, 9, 4, 0.0)
        core.failed(CUT, 1.0)
        assert core.joined(Joined(5), 2.0) == Effect(commit=5, rewind=True)
        assert core.sent(6, 9, 4, 2.0) == 5

    def test_a_redis_that_forgot_is_recorded_before_the_chain_goes_on(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        core.replied(Reply("ok", 5), 0.0)
        core.sent(6, 9, 4, 0.0)
        core.failed(CUT, 1.0)
        effect = core.joined(Joined(None), 2.0)
        [event] = effect.events
        assert isinstance(event, QueueForgotten)
        assert (event.confirmed, event.held, effect.commit) == (5, 0, None)
        gap = recorded_by(core, 2.0)
        assert (gap.cause, gap.feed, gap.producer, gap.last_seq, gap.count) == ("forgotten", "trades", "p", 0, None)
        assert gap.from_us == SINCE_US < gap.to_us
        core.recorded()
        assert core.next(2.0, True) == Join(5)
        assert core.joined(Joined(5), 2.0) == Effect(commit=5, rewind=True)

    def test_until_it_is_recorded_no_join_may_hide_it_and_it_is_told_once(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        core.replied(Reply("ok", 5), 0.0)
        core.failed(CUT, 1.0)
        core.joined(Joined(None), 2.0)
        core.failed(CUT, 3.0)
        recorded_by(core, 9.0)
        core.failed(CUT, 10.0)
        recorded_by(core, 19.0)
        core.recorded()
        core.failed(CUT, 20.0)
        assert core.next(29.0, True) == Join(5)

    def test_an_older_position_is_a_forgetting_and_the_chain_goes_on_from_there(self) -> None:
        core = joined_core()
        core.sent(1, 9, 9, 0.0)
        core.replied(Reply("ok", 9), 0.0)
        core.failed(CUT, 1.0)
        [event] = core.joined(Joined(4), 2.0).events
        assert isinstance(event, QueueForgotten)
        assert (event.confirmed, event.held) == (9, 4)
        assert recorded_by(core, 2.0).last_seq == 4
        core.recorded()
        assert core.joined(Joined(4), 2.0) == Effect(commit=4, rewind=True)
        assert core.sent(10, 12, 3, 2.0) == 4
        core.failed(CUT, 3.0)
        assert QueueForgotten not in kinds(core.joined(Joined(4), 4.0))

    def test_it_may_begin_anew_only_before_it_sends_again(self) -> None:
        core = joined_core()
        core.joined(Joined(None), 0.0)
        core.recorded()
        core.joined(Joined(0), 0.0)
        core.sent(1, 5, 5, 0.0)
        core.failed(CUT, 1.0)
        assert core.next(9.0, True) == Join(None)

    def test_a_position_nobody_sent_is_a_foreign_writers(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        core.failed(CUT, 1.0)
        with pytest.raises(ForeignWriter, match="only 5 were sent"):
            core.joined(Joined(6), 2.0)

    def test_at_the_end_too_a_redis_that_forgot_is_told(self) -> None:
        core = joined_core()
        assert core.left(False) == core.left(True) == Effect()
        core.sent(1, 5, 5, 0.0)
        core.replied(Reply("ok", 5), 0.0)
        assert core.left(True) == Effect()
        assert kinds(core.left(False)) == [QueueForgotten, GapFound]

    def test_waits_longer_from_failure_to_failure(self) -> None:
        core = make_core()
        waits = []
        for _ in range(8):
            core.failed(CUT, 100.0)
            action = core.next(100.0, True)
            assert isinstance(action, Wait)
            waits.append(round(action.until - 100.0, 3))
        assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
        assert core.retries == 8

    def test_after_a_crash_it_joins_again_at_once(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        core.begin(1.0)
        assert core.next(1.0, True) == Join(None)


class TestSending:
    def test_keeps_a_window_of_calls_each_following_the_one_before(self) -> None:
        core = joined_core(window=2)
        assert core.next(0.0, True) == Send(1000, 1_000_000)
        assert core.sent(1, 5, 5, 0.0) == 0
        assert core.next(0.0, True) == Send(1000, 1_000_000)
        assert core.sent(6, 8, 3, 0.0) == 5
        assert core.next(0.0, True) == Receive(5.0)
        assert core.replied(Reply("ok", 5), 1.0) == Effect(commit=5)
        assert core.next(1.0, True) == Send(1000, 1_000_000)
        assert core.next(1.0, False) == Receive(6.0)

    def test_a_reply_that_does_not_come_is_told_as_an_outage_and_its_end_too(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        effect = core.failed(BrokerTimedOut("5 s"), 5.0)
        assert (effect.close, kinds(effect)) == (True, [BrokerUnavailable])
        assert kinds(core.joined(Joined(5), 7.0)) == [BrokerRecovered]

    def test_a_line_that_breaks_without_progress_gets_shorter_calls_and_longer_ones_again(self) -> None:
        core = joined_core(messages=1000, window=1)
        core.sent(1, 400, 400, 0.0)
        for expected in (200, 100, 50):
            core.failed(CUT, 0.0)
            core.joined(Joined(0), 9.0)
            assert core.next(9.0, True) == Send(expected, 1_000_000)
            core.sent(1, expected, expected, 9.0)
        core.replied(Reply("ok", 50), 9.0)
        assert core.next(9.0, True) == Send(100, 1_000_000)

    def test_calls_never_get_shorter_than_one_message(self) -> None:
        core = joined_core()
        for _ in range(20):
            core.sent(1, 3, 3, 0.0)
            core.failed(CUT, 0.0)
            core.joined(Joined(0), 99.0)
        assert core.next(99.0, True) == Send(1, 1_000_000)

    def test_a_line_that_breaks_after_progress_keeps_its_size(self) -> None:
        core = joined_core(messages=1000, window=1)
        core.sent(1, 400, 400, 0.0)
        core.failed(CUT, 0.0)
        core.joined(Joined(400), 9.0)
        assert core.next(9.0, True) == Send(1000, 1_000_000)


class TestTrouble:
    def test_acts_on_the_first_trouble_only_and_when_all_replies_are_read(self) -> None:
        core = joined_core(window=3)
        for first in (1, 6, 11):
            core.sent(first, first + 4, 5, 0.0)
        assert core.replied(Reply("full", 3, depth=20), 1.0) == Effect()
        assert core.next(1.0, True) == Receive(6.0)
        assert core.replied(Reply("gap"), 1.0) == Effect()
        assert core.replied(Reply("gap"), 1.0) == Effect(commit=3, rewind=True)
        assert core.next(1.0, True) == Wait(1.0 + POLL_INTERVAL)

    def test_a_full_queue_is_polled_until_its_low_watermark_and_one_call_goes_first(self) -> None:
        core = joined_core(window=4)
        core.sent(1, 5, 5, 0.0)
        core.replied(Reply("full", 3, queue="books", depth=20), 1.0)
        assert core.next(1.1, True) == Poll("books")
        core.polled(11, 1.1)
        assert core.next(1.1, True) == Wait(1.1 + POLL_INTERVAL)
        assert core.next(1.2, True) == Poll("books")
        core.polled(10, 1.2)
        assert core.next(1.2, True) == Send(1000, 1_000_000)
        assert core.sent(4, 5, 2, 1.2) == 3
        assert core.next(1.2, True) == Receive(6.2)
        core.replied(Reply("ok", 5), 1.3)
        core.sent(6, 6, 1, 1.3)
        assert core.next(1.3, True) == Send(1000, 1_000_000)

    def test_a_rate_limit_is_waited_for_as_long_as_redis_says(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        assert core.replied(Reply("rate", 2, wait=0.25), 1.0) == Effect(commit=2, rewind=True)
        assert core.next(1.2, True) == Wait(1.25)
        assert core.next(1.25, True) == Send(1000, 1_000_000)
        assert core.sent(3, 5, 3, 1.25) == 2

    def test_a_gap_is_asked_about(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        effect = core.replied(Reply("gap"), 1.0)
        assert effect == Effect()
        assert core.next(1.0, True) == Wait(1.05)
        assert core.next(1.05, True) == Join(None)

    def test_a_flushed_script_is_no_outage_and_keeps_the_line(self) -> None:
        core = joined_core()
        core.sent(1, 5, 5, 0.0)
        assert core.replied(refused("NOSCRIPT"), 1.0) == Effect()

    @pytest.mark.parametrize("code", sorted(SERVER_CODES - {"NOSCRIPT"}))
    def test_a_server_that_cannot_is_waited_for_without_end(self, code: str) -> None:
        core = joined_core()
        told = []
        for _ in range(5 * MOST_REFUSALS):
            core.sent(1, 1, 1, 0.0)
            effect = core.replied(refused(code), 0.0)
            assert effect.close
            told += kinds(effect)
            assert kinds(core.joined(Joined(0), 99.0)) == []
            assert core.next(99.0, True) == Send(1000, 1_000_000)
        assert told == [BrokerUnavailable]
        core.sent(1, 1, 1, 99.0)
        assert kinds(core.replied(Reply("ok", 1), 99.0)) == [BrokerRecovered]

    def test_what_was_admitted_before_an_error_is_committed(self) -> None:
        core = joined_core()
        core.sent(1, 9, 9, 0.0)
        effect = core.replied(refused("OOM", position=4), 1.0)
        assert (effect.commit, effect.rewind) == (4, False)
        assert core.joined(Joined(4), 2.0) == Effect(commit=4, rewind=True)


class TestRefusedMessages:
    def refuse(self, core: PublisherCore, count: int, seq: int = 1, position: int | None = None) -> None:
        core.sent(seq, seq + count - 1, count, 0.0)
        core.replied(refused("ERR", position), 0.0)
        core.joined(Joined(position or seq - 1), 99.0)

    def test_is_found_by_sending_one_by_one_and_given_up_after_ten_refusals(self) -> None:
        core = joined_core()
        self.refuse(core, 50)
        for _ in range(MOST_REFUSALS):
            assert core.next(99.0, True) == Send(1, 1_000_000)
            self.refuse(core, 1)
        action = core.next(99.0, True)
        assert isinstance(action, Reject)
        assert (action.seq, "ERR" in action.detail) == (1, True)
        core.rejected(1, "no")
        assert core.next(99.0, True) == Send(1, 1_000_000)
        assert core.sent(2, 2, 1, 99.0) == 0
        core.replied(Reply("ok", 2), 99.0)
        assert core.next(99.0, True) == Send(2, 1_000_000)

    def test_an_admission_in_between_begins_the_count_anew(self) -> None:
        core = joined_core()
        for _ in range(MOST_REFUSALS - 1):
            self.refuse(core, 1)
        core.sent(1, 1, 1, 0.0)
        core.replied(Reply("ok", 1), 0.0)
        for _ in range(MOST_REFUSALS - 1):
            self.refuse(core, 1, seq=2)
        assert isinstance(core.next(99.0, True), Send)

    def test_the_message_behind_those_that_were_admitted_is_not_yet_refused(self) -> None:
        core = joined_core()
        for _ in range(MOST_REFUSALS):
            self.refuse(core, 1)
        core.rejected(1, "no")
        for _ in range(MOST_REFUSALS - 1):
            self.refuse(core, 1, seq=2)
        assert isinstance(core.next(99.0, True), Send)
