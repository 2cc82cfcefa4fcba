"""The publisher brings into the backlog what has waited long enough for more, whatever it is waiting for itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
import pytest

from ingest.broker.limits import Limits
from ingest.broker.line import Reply
from ingest.clock import wall_us
from ingest.delivery.batch_intake import BatchIntake
from ingest.delivery.core import Pace, PublisherCore
from ingest.delivery.publisher import Publisher
from ingest.errors import BrokerUnreachable
from tests.support.backlogs import KeptBacklog
from tests.support.delivery import FixedLead, make_envelope
from tests.support.fake_line import FakeLine
from tests.support.waiting import wait_until


class Feed:
    """An intake with batches of 3 and its publisher, in a thread of its own."""

    def __init__(self, line: FakeLine, timeout: float = 0.05) -> None:
        self.line = line
        self.kept = KeptBacklog(messages=1000)
        self.intake = BatchIntake(
            make_envelope, self.kept.backlog, size=3, timeout=timeout, label="label", publish=self.kept.events.append
        )
        self.intake.enter(self.kept.chain)
        limits = Limits(high=10, low=1)
        core = PublisherCore(feed="trades", label="label", queue="trades", watermarks=lambda queue: limits, pace=Pace())
        self.lead = FixedLead("p")
        self.publisher = Publisher(
            self.kept.backlog,
            line,
            core,
            self.lead,
            publish=self.kept.events.append,
            flush=self.intake.flush_due,
        )

    def sent(self) -> list[list[str]]:
        return [dramatiq.Message.decode(data).args[0] for data in self.line.data]


@contextmanager
def running(feed: Feed) -> Iterator[None]:
    thread = threading.Thread(target=feed.publisher.run)
    thread.start()
    try:
        yield
    finally:
        feed.publisher.stop()
        thread.join(20)
        assert not thread.is_alive()


def test_a_rest_leaves_when_its_time_is_over_though_nothing_else_happens() -> None:
    feed = Feed(FakeLine())
    with running(feed):
        for number, text in enumerate("abc", start=1):
            feed.intake.deliver([text], wall_us())
            wait_until(lambda expected=number: len(feed.line.data) == expected, 10, "the message")
    assert feed.sent() == [["a"], ["b"], ["c"]]
    assert (feed.publisher.enqueued, feed.publisher.messages) == (3, 3)


def test_payloads_and_messages_are_counted_apart() -> None:
    feed = Feed(FakeLine())
    with running(feed):
        feed.intake.deliver(list("abcdefg"), wall_us())
        wait_until(lambda: feed.publisher.enqueued == 7, 10, "seven payloads")
    assert (feed.sent(), feed.publisher.messages) == ([["a", "b", "c"], ["d", "e", "f"], ["g"]], 3)


@pytest.mark.parametrize("why", ["stands by", "redis is away", "rate", "no reply"])
def test_it_is_closed_in_time_also_while_nothing_can_leave(why: str) -> None:
    """It is then where an overflow, a spool and a stop find it."""
    answers = {"rate": [Reply("rate", 0, wait=60.0)], "no reply": [None]}.get(why, [])
    feed = Feed(FakeLine(*answers))
    if why == "redis is away":
        feed.line.broken = BrokerUnreachable("away")
    if why == "stands by":
        feed.lead.leader = ""
    with running(feed):
        feed.intake.deliver(list("abc"), wall_us())
        if why in ("rate", "no reply"):
            wait_until(lambda: feed.line.calls, 10, "a call")
        feed.intake.deliver(["d"], wall_us())
        wait_until(lambda: len(feed.kept.backlog) == 2, 5, "both messages in the backlog")
