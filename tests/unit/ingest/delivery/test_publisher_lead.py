"""The publisher and the lead: what waits for one, what needs none, and what is given up or marked when it is lost."""

from __future__ import annotations

import time

from ingest.broker.line import Reply
from tests.support.backlogs import KeptBacklog
from tests.support.fake_line import FakeLine, pipeline
from tests.support.waiting import wait_until


class TestLead:
    def test_without_one_nothing_is_sent_and_a_drain_waits_for_none(self) -> None:
        line = FakeLine()
        with pipeline(line) as feed:
            feed.lead.leader = ""
            feed.put("a")
            assert not feed.drain(60)
        assert (line.calls, len(feed.backlog)) == ([], 1)

    def test_without_one_what_waits_costs_no_time_until_there_is_one(self) -> None:
        line = FakeLine()
        with pipeline(line) as feed:
            feed.lead.leader = ""
            feed.put("a")
            wait_until(lambda: line.rests, 10, "the pause")
            time.sleep(0.1)  # in which it would turn hundreds of times
            assert line.rests < 10
            assert line.calls == []
            feed.lead.leader = feed.producer
            feed.backlog.wake()
            feed.emptied()

    def test_a_join_that_finds_another_leader_says_so(self) -> None:
        line = FakeLine()
        line.other_leads = True
        with pipeline(line) as feed:
            feed.put("a")
            wait_until(lambda: feed.lead.lost == [feed.producer], 10, "the word")
        assert line.calls == []

    def test_a_call_that_is_fenced_leads_to_a_join_and_to_the_same_word(self) -> None:
        line = FakeLine(Reply("fenced"))
        with pipeline(line) as feed:
            wait_until(lambda: feed.core.settled, 10, "the first join")
            line.other_leads = True
            feed.put("a")
            wait_until(lambda: feed.lead.lost == [feed.producer], 10, "the word")
        assert len(line.calls) == 1

    def test_what_is_late_needs_no_leader_and_says_that_it_is_late(self) -> None:
        line = FakeLine()
        with pipeline(line, mark_late=lambda data: b"late " + data) as feed:
            feed.lead.leader = ""
            feed.put("a")
            feed.backlog.fence()
            feed.emptied()
        assert line.joins[-1] == (feed.producer, "")
        assert line.leaders == [""]
        assert line.data[0].startswith(b"late ")

    def test_what_is_late_and_not_wanted_is_given_up_after_its_calls_are_settled(self) -> None:
        line = FakeLine()
        kept = KeptBacklog()
        with pipeline(line, backlog=kept.backlog, chain=kept.chain) as feed:
            feed.lead.leader = ""
            feed.put("a", "b")
            kept.backlog.fence()
            wait_until(lambda: kept.losses.counts["fenced"] == 2, 10, "the drop")
        assert line.calls == []
        assert line.joins, "what Redis has of it is asked for first"
        assert kept.dropped() == [(1, 2, 2)]

    def test_of_what_is_late_nothing_that_redis_has_is_called_dropped(self) -> None:
        line = FakeLine(None, None)
        kept = KeptBacklog()
        with pipeline(line, backlog=kept.backlog, chain=kept.chain) as feed:
            feed.put("a")
            wait_until(lambda: line.calls, 10, "a call that gets no reply")
            feed.put("b")
            wait_until(lambda: len(line.calls) == 2, 10, "another")
            line.positions[feed.producer] = 1  # the first was executed, and nobody knows
            feed.lead.leader = ""
            kept.backlog.fence()
            wait_until(lambda: len(kept.backlog) == 0, 10, "the end of both")
        assert (kept.dropped(), feed.publisher.enqueued, feed.crashes) == ([(2, 2, 1)], 1, [])

    def test_what_is_late_is_not_put_off_by_doubts_about_the_lease_and_they_are_not_forgotten(self) -> None:
        line = FakeLine(None)
        with pipeline(line, mark_late=lambda data: data) as feed:
            feed.lead.leader = ""
            feed.put("a")
            feed.backlog.fence()
            wait_until(lambda: line.calls, 10, "the call that gets no reply")
            joins = len(line.joins)
            feed.lead.leader = "q"
            second = feed.backlog.open("q", 2)
            feed.intake.enter(second)
            feed.publisher.doubt()
            line.replies[0] = Reply("ok", 1)
            wait_until(lambda: line.left == [feed.producer], 10, "the end of what is late")
            wait_until(lambda: line.joins[joins:], 10, "the join of the next")
            assert {producer for producer, _ in line.joins[joins:]} == {"q"}

    def test_a_feed_that_was_full_can_be_read_again_after_that(self) -> None:
        kept = KeptBacklog(messages=2)
        with pipeline(FakeLine(), backlog=kept.backlog, chain=kept.chain) as feed:
            feed.lead.leader = ""
            feed.put("a", "b")
            assert not kept.backlog.has_room()
            kept.backlog.fence()
            wait_until(kept.backlog.has_room, 10, "room")
            assert kept.rooms == 1
