"""The publisher's shell: carries out, ends when told to, dies of nothing in silence."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from ingest.broker.limits import Limits
from ingest.broker.line import Reply
from ingest.delivery import pacing
from ingest.delivery.backlog import Backlog, Entry
from ingest.delivery.core import MOST_REFUSALS
from ingest.errors import BrokerError, BrokerRefused, BrokerUnreachable
from ingest.events import BrokerUnavailable, MessageRejected
from tests.support.delivery import Pipeline
from tests.support.waiting import wait_until


class FakeLine:
    """A Redis that admits everything, or does what ``answers`` say, one a call."""

    def __init__(self, *answers: Reply | BrokerError | None) -> None:
        self.answers = list(answers)
        self.position = 0
        self.calls: list[tuple[int, list[int]]] = []
        self.replies: list[Reply | BrokerError | None] = []
        self.left: list[str] = []
        self.closed = 0
        self.depths = 0
        self.broken: Exception | None = None

    def join(self, producer: str, base: int | None) -> int | None:
        if self.broken is not None:
            raise self.broken
        self.replies.clear()
        return self.position

    def enqueue_batch(self, producer: str, prev: int, last: int, messages: Sequence[Entry]) -> None:
        self.calls.append((prev, [entry.seq for entry in messages]))
        answer = self.answers.pop(0) if self.answers else Reply("ok", last)
        if isinstance(answer, Reply) and answer.position is not None:
            self.position = answer.position
        self.replies.append(answer)

    def reply(self, timeout: float) -> Reply | None:
        answer = self.replies.pop(0)
        if isinstance(answer, BrokerError):
            raise answer
        if answer is None:
            self.replies.insert(0, None)
            time.sleep(min(timeout, 0.01))
        return answer

    def depth(self, queue: str) -> int:
        self.depths += 1
        return 1000

    def done(self, producer: str) -> bool:
        self.left.append(producer)
        return True

    def close(self) -> None:
        self.closed += 1


def pipeline(line: FakeLine, **options: object) -> Pipeline:
    return Pipeline(line, lambda _: Limits(high=1000, low=10), **options)  # type: ignore[arg-type]


def test_publishes_in_order_and_takes_leave_when_drained() -> None:
    line = FakeLine()
    with pipeline(line) as feed:
        feed.put_numbers(1, 250)
        feed.emptied()
        assert feed.drain(10)
    assert [seq for _, call in line.calls for seq in call] == list(range(1, 251))
    assert (feed.publisher.enqueued, line.left, line.closed, feed.crashes) == (250, [feed.producer], 1, [])


def test_tells_the_hook_of_every_message_once_it_is_in() -> None:
    seen: list[bytes] = []
    with pipeline(FakeLine(Reply("full", 0, "trades", 1)), after=seen.append) as feed:
        feed.put("a", "b")
        wait_until(lambda: feed.core.retries == 0 and feed.backlog.has_waiting, 10, "the pause")
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


def test_a_message_refused_again_and_again_is_dropped_counted_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "LONGEST_BACKOFF", 0.02)
    no = Reply("error", error=BrokerRefused("ERR", "no"))
    with pipeline(FakeLine(*[no] * MOST_REFUSALS)) as feed:
        feed.put("bad")
        wait_until(lambda: feed.publisher.rejected == 1, 30, "the rejection")
        feed.put("good")
        feed.emptied()
    [event] = feed.told(MessageRejected)
    assert isinstance(event, MessageRejected)
    assert (event.seq, feed.publisher.enqueued) == (1, 1)


def test_without_redis_a_drain_ends_at_its_deadline_and_everything_is_left() -> None:
    line = FakeLine()
    line.broken = BrokerUnreachable("refused")
    with pipeline(line) as feed:
        feed.put("a", "b")
        wait_until(lambda: feed.told(BrokerUnavailable), 10, "the outage")
        assert not feed.drain(0.3)
    assert (feed.backlog.close(), line.left) == (2, [])


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
    assert feed.backlog.close() == 1


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
    again = Pipeline(line, lambda _: Limits(), backlog=feed.backlog)
    with again:
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
    with pipeline(line, backlog=Backlog(10, 10_000)) as feed:
        feed.put("a")
        wait_until(lambda: line.depths >= 3, 10, "three polls")
        assert len(line.calls) == 1
