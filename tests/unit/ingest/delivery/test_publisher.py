"""The publisher's shell: carries out, ends when told to, dies of nothing in silence."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ingest.broker.line import Reply
from ingest.clock import wall_us
from ingest.delivery import pacing
from ingest.delivery.core import GRACE, MOST_REFUSALS, PATIENCE
from ingest.delivery.spool import Spool
from ingest.errors import BrokerRefused, BrokerUnreachable, SpoolFull
from ingest.events import BrokerUnavailable, FramesDropped, GapFound, QueueForgotten
from tests.support.backlogs import KeptBacklog
from tests.support.connections import ManualClock
from tests.support.delivery import memory_backlog
from tests.support.fake_line import FakeLine, has_waiting, pipeline
from tests.support.waiting import wait_until


def test_publishes_in_order_and_takes_leave_when_drained() -> None:
    line = FakeLine()
    with pipeline(line) as feed:
        feed.put_numbers(1, 250)
        feed.emptied()
        assert feed.drain(10)
    assert [seq for _, call in line.calls for seq in call] == list(range(1, 251))
    assert (feed.publisher.enqueued, line.left, line.closed, feed.crashes) == (250, [feed.producer], 1, [])
    assert set(line.leaders) == {feed.producer}


def test_a_reply_that_others_got_is_not_waited_for_unless_ours_is_on_a_slow_way() -> None:
    clock, line = ManualClock(), FakeLine(None)
    line.moving = True
    with pipeline(line, clock=clock) as feed:
        feed.put("a")
        wait_until(lambda: line.calls, 10, "the call")
        clock.now += PATIENCE
        feed.publisher.hear()
        clock.now += GRACE
        wait_until(lambda: line.looks > 1, 10, "a look at the line")
        assert len(line.joins) == 1
        line.moving = False
        wait_until(lambda: feed.told(BrokerUnavailable), 10, "the line to be given up")
        clock.now += 1.0  # the backoff
        feed.emptied()
    assert (len(line.joins), [seq for _, call in line.calls for seq in call]) == (2, [1, 1])


def test_tells_the_hook_of_every_message_once_it_is_in() -> None:
    seen: list[bytes] = []
    with pipeline(FakeLine(Reply("full", 0, "trades", 1)), after=seen.append) as feed:
        feed.put("a", "b")
        wait_until(lambda: feed.core.retries == 0 and has_waiting(feed), 10, "the pause")
        assert seen == []
        feed.publisher.stop()
    with pipeline(FakeLine(), after=seen.append) as feed:
        feed.put("a", "b")
        feed.emptied()
        wait_until(lambda: len(seen) == 2, 10, "the hook")
    assert [b'"a"' in seen[0], b'"b"' in seen[1]] == [True, True]


def test_a_broken_line_is_closed_and_the_rest_sent_again() -> None:
    line = FakeLine(BrokerUnreachable("reset"))
    with pipeline(line) as feed:
        feed.put("a", "b")
        feed.emptied()
    assert line.calls == [(0, [1, 2]), (0, [1]), (1, [2])]
    assert (line.closed, feed.publisher.retries) == (2, 1)


def test_a_message_refused_again_and_again_is_given_up_counted_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "LONGEST_BACKOFF", 0.02)
    no = Reply("error", error=BrokerRefused("ERR", "no"))
    kept = KeptBacklog()
    with pipeline(FakeLine(*[no] * MOST_REFUSALS), backlog=kept.backlog, chain=kept.chain) as feed:
        feed.put("bad")
        wait_until(lambda: kept.losses.counts["rejected"] == 1, 30, "the rejection")
        feed.put("good")
        feed.emptied()
    assert (kept.dropped(), feed.publisher.enqueued) == ([(1, 1, 1)], 1)


def test_without_redis_a_drain_ends_at_its_deadline_and_everything_is_left() -> None:
    line = FakeLine()
    line.broken = BrokerUnreachable("refused")
    with pipeline(line) as feed:
        feed.put("a", "b")
        wait_until(lambda: feed.told(BrokerUnavailable), 10, "the outage")
        began = time.monotonic()
        assert not feed.drain(0.3)
        assert time.monotonic() - began >= 0.3
    assert (len(feed.backlog), line.left) == (2, [])


def test_without_redis_a_drain_ends_at_once_where_the_rest_can_be_kept_on_disk() -> None:
    line = FakeLine()
    line.broken = BrokerUnreachable("refused")
    with pipeline(line, spools=True) as feed:
        feed.put("a", "b")
        wait_until(lambda: feed.core.away, 10, "the outage")
        began = time.monotonic()
        assert not feed.drain(60)
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "answer", [Reply("rate", 0, "trades", wait=3600.0), Reply("full", 0, "trades", 1), None], ids=["rate", "full", "no reply"]
)
def test_a_stop_ends_every_wait(answer: Reply | None) -> None:
    line = FakeLine(answer)
    with pipeline(line) as feed:
        feed.put("a")
        wait_until(lambda: line.calls, 10, "the call")
        started = time.monotonic()
        feed.publisher.stop()
    assert time.monotonic() - started < 10
    assert len(feed.backlog) == 1


def test_an_idle_publisher_ends_at_once() -> None:
    with pipeline(FakeLine()) as feed:
        wait_until(lambda: feed.core.settled, 10, "the join")
        assert feed.drain(60)


def test_a_fault_of_ours_comes_out_of_run_and_the_next_run_loses_nothing() -> None:
    line = FakeLine()
    line.broken = ZeroDivisionError("a fault")
    with pipeline(line) as feed:
        feed.put("a")
        wait_until(lambda: feed.crashes, 10, "the crash")
        assert line.closed == 1
        line.broken = None
        feed.publisher.crashed()
        feed.publisher.stop()
        feed.publisher.run()
    assert [type(each) for each in feed.crashes] == [ZeroDivisionError]
    with pipeline(line, backlog=feed.backlog, chain=feed.chain) as again:
        again.emptied()
    assert line.calls == [(0, [1])]


def test_a_farewell_that_redis_does_not_hear_is_no_failure() -> None:
    class Deaf(FakeLine):
        def done(self, producer: str) -> bool:
            raise BrokerUnreachable("gone")

    with pipeline(Deaf()) as feed:
        feed.put("a")
        feed.emptied()
        assert feed.drain(10)
    assert feed.crashes == []


def test_a_full_queue_is_polled_and_not_hammered() -> None:
    line = FakeLine(Reply("full", 0, "trades", 1000))
    with pipeline(line, backlog=memory_backlog(10, 10_000)) as feed:
        feed.put("a")
        wait_until(lambda: line.depths >= 3, 10, "three polls")
        assert len(line.calls) == 1


class TestChains:
    def test_the_next_begins_when_the_first_is_through_and_has_taken_leave(self) -> None:
        line = FakeLine()
        with pipeline(line, mark_late=lambda data: data) as feed:
            feed.put("a", "b")
            feed.emptied()
            second = feed.backlog.open("q", 2)
            feed.intake.enter(second)
            feed.lead.leader = "q"
            feed.put("c")
            feed.emptied()
        assert [producer for producer, _ in line.joins][-1] == "q"
        assert line.left[0] == feed.producer
        assert line.calls[-1] == (0, [1])

    def test_leave_is_taken_of_redis_only_when_the_disk_has_nothing_more_of_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line, kept = FakeLine(), KeptBacklog(tmp_path, write_ahead=True)
        stored: list[int] = []
        done = line.done
        monkeypatch.setattr(line, "done", lambda producer: stored.append(kept.spool.size) or done(producer))
        with pipeline(line, backlog=kept.backlog, chain=kept.chain) as feed:
            feed.put("a", "b")
            assert feed.drain(10)
        assert (stored, line.left) == ([0], ["p"])

    def test_nor_where_the_disk_does_not_let_go_of_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        line, kept = FakeLine(), KeptBacklog(tmp_path, write_ahead=True)

        def refuse(self: Spool, producer: str) -> None:
            raise SpoolFull("spool", "for the test")

        monkeypatch.setattr(Spool, "clear", refuse)
        with pipeline(line, backlog=kept.backlog, chain=kept.chain) as feed:
            feed.put("a", "b")
            assert feed.drain(10)
        assert (line.positions["p"], line.left) == (2, [])

    def test_a_chain_that_comes_before_ours_makes_the_calls_under_way_void(self, tmp_path: object) -> None:
        line = FakeLine(None)
        kept = KeptBacklog()
        with pipeline(line, backlog=kept.backlog, chain=kept.chain) as feed:
            feed.put("a")
            wait_until(lambda: line.calls, 10, "the call that gets no reply")
            closed = line.closed
            feed.lead.leader = "anew"
            feed.emptied()
            assert line.closed > closed
        assert line.calls == [(0, [1]), (0, [1])]
        assert line.leaders == [feed.producer, "anew"]

    def test_what_redis_forgot_of_a_producer_goes_back_to_its_beginning_though_it_leads_no_more(self) -> None:
        line = FakeLine()
        with pipeline(line, mark_late=lambda data: data) as feed:
            feed.put("a")
            feed.emptied()
            delivered_us = wall_us()
            line.forgot = True
            feed.lead.leader = ""
            feed.backlog.fence()
            wait_until(lambda: line.recorded, 10, "the record")
        [gap] = line.recorded
        assert gap.from_us < delivered_us < gap.to_us

    def test_what_redis_forgot_is_recorded_before_anything_is_attached(self) -> None:
        line = FakeLine()
        with pipeline(line) as feed:
            feed.put("a", "b")
            feed.emptied()
            line.forgot = True
            feed.publisher.doubt()
            wait_until(lambda: not line.forgot, 10, "the new beginning")
            feed.put("c")
            feed.emptied()
        [gap] = line.recorded
        assert (gap.cause, gap.producer) == ("forgotten", feed.producer)
        assert feed.told(GapFound) == [gap]
        assert len(feed.told(QueueForgotten)) == 1
        assert line.calls[-1] == (2, [3])
        assert feed.told(FramesDropped) == []


def test_lends_its_connection_to_others_while_there_is_nothing_to_send() -> None:
    line = FakeLine()
    with pipeline(line) as feed:
        feed.put("a")
        feed.emptied()
        wait_until(lambda: line.rests > 0, 10, "the rest")
        rests = line.rests
        feed.put("b")
        feed.emptied()
        wait_until(lambda: line.rests > rests, 10, "the next rest")
    assert (len(line.joins), line.closed) == (1, 1), "it stays joined meanwhile"


def test_waits_for_a_connection_that_others_have_until_it_is_told() -> None:
    line = FakeLine()
    line.free = False
    with pipeline(line) as feed:
        feed.put("a")
        wait_until(lambda: len(line.asked) > 0, 10, "the question")
        assert line.joins == []
        line.free = True
        line.asked[-1]()
        feed.emptied()


def test_who_waits_for_a_connection_can_be_stopped() -> None:
    line = FakeLine()
    line.free = False
    with pipeline(line) as feed:
        feed.put("a")
        wait_until(lambda: len(line.asked) > 0, 10, "the question")
        feed.publisher.stop()
        wait_until(lambda: line.closed == 1, 10, "the end")
    assert line.joins == []


def test_lets_others_have_their_turn_once_all_replies_are_in() -> None:
    line = FakeLine()
    line.overstays = True
    with pipeline(line) as feed:
        feed.put_numbers(1, 5000)
        feed.emptied()
    assert [seq for _, call in line.calls for seq in call] == list(range(1, 5001))
    assert line.rests >= len(line.calls), "a rest after each call"
