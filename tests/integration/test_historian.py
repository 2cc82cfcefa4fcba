"""The supervisor's notes for the history, while Redis comes and goes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ingest import events
from ingest.broker.history import MOST_HAPPENINGS, FeedHistory, read_history
from ingest.broker.keys import Keys
from ingest.broker.queues import QueueDepth
from ingest.broker.status import publish_status
from ingest.errors import HandshakeRejected, IdleTimedOut
from ingest.service.historian import Historian
from ingest.service.reporter import Reporter
from ingest.telemetry.summary import FeedNumbers
from tests.support.redis_server import Valkey

KEYS = Keys("ns")
DEPTHS = {"q": QueueDepth(42, 0, None)}


class Feed:
    """Stands for a runner: a name, a queue, and numbers that a test sets."""

    def __init__(self, name: str) -> None:
        self.settings = SimpleNamespace(name=name, queue="q")
        self.now = FeedNumbers(state="READY")

    def numbers(self) -> FeedNumbers:
        return self.now


class Desk:
    """A historian with a clock of the test's own."""

    def __init__(self, valkey: Valkey, *feeds: str) -> None:
        self.seconds = 0.0
        self.client = valkey.client()
        self.feeds: list[Any] = [Feed(name) for name in feeds]
        self.historian = Historian(self.client, KEYS, "blue", "h:1", lambda: self.seconds)
        for name in feeds:
            self.historian.know(f"label-{name}", name)

    def read(self, feed: str = "trades") -> FeedHistory:
        return read_history(self.client, KEYS, [("blue", feed)])["blue", feed]


@pytest.fixture
def make_desk(valkey: Valkey) -> Callable[..., Desk]:
    return lambda *feeds: Desk(valkey, *feeds)


def test_a_point_every_ten_seconds_with_rates_depth_and_the_workers_lag(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk("trades", "book")
    desk.feeds[1].now = FeedNumbers(state="STANDBY")
    lag = {"trades": {"lag_ms": {"p50": 1.5, "p99": 7.0}}}
    publish_status(desk.client, "ns", "worker", "w", {"feeds": lag})

    for second in range(1, 26):
        desk.seconds = float(second)
        desk.feeds[0].now = FeedNumbers(state="READY", frames=20 * second, enqueued=10 * second)
        desk.historian.write(desk.feeds, DEPTHS)

    # (The wall clock is the real one: both fall into one interval, so they are looked at where they lie.)
    assert desk.client.zcard("ns:__history__.blue.trades") == 2
    [point, *_] = desk.read().points
    assert (point.state, point.frames, point.enqueued, point.depth) == ("READY", 20.0, 10.0, 42)
    assert (point.lag_p50, point.lag_p99) == (1.5, 7.0)
    assert desk.read("book").points == []


def test_happenings_are_told_with_their_reasons_and_without_those_of_other_kinds(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk("trades")
    told = [
        events.ConnectionReady(telemetry_id="label-trades", at=1.0, url="wss://example.com/?token=***"),
        events.ConnectionLost(telemetry_id="label-trades", at=2.0, reason=IdleTimedOut(30.0), lasted=61.25),
        events.StateChanged(telemetry_id="label-trades", at=3.0, old="READY", new="BACKING_OFF"),
        events.FeedGaveUp(telemetry_id="label-trades", at=4.0, reason=HandshakeRejected(403)),
        events.ConnectionReady(telemetry_id="a feed that nobody knows", at=5.0, url="wss://example.com"),
    ]
    for event in told:
        desk.historian.handle(event)
    desk.historian.write(desk.feeds, DEPTHS)

    assert [(each.at, each.what, each.detail, each.where) for each in desk.read().happenings] == [
        (1.0, "ready", "url wss://example.com/?token=***", "h:1"),
        (2.0, "lost", "IdleTimedOut: nothing received for 30 s, lasted 61.25", "h:1"),
        (4.0, "gave up", "HandshakeRejected: the server answered the upgrade with status 403", "h:1"),
    ]


def test_while_redis_is_away_points_are_lost_and_counted_and_the_last_happenings_kept(
    make_desk: Callable[..., Desk], valkey: Valkey
) -> None:
    desk = make_desk("trades")
    reporter = Reporter(desk.client, "ns", [], lambda event: None, history=desk.historian)
    assert reporter.report()

    valkey.stop()
    for number in range(MOST_HAPPENINGS + 3):
        desk.historian.handle(events.ConnectionReady(telemetry_id="label-trades", at=float(number), url=""))
    desk.seconds = 10.0
    desk.historian.skip(desk.feeds)
    desk.seconds = 20.0
    desk.historian.write(desk.feeds, DEPTHS)  # it broke between two calls
    assert not reporter.report()
    desk.historian.close()  # asks nobody who does not answer
    assert desk.historian.dropped == 3 + 2

    valkey.start()
    assert reporter.report()
    found = desk.read()
    assert [each.at for each in found.happenings] == [float(number) for number in range(3, MOST_HAPPENINGS + 3)]
    assert (found.points, desk.historian.dropped) == ([], 5)


def test_what_comes_after_the_last_report_is_written_at_the_close(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk("trades")
    desk.historian.handle(events.FeedBlocked(telemetry_id="label-trades", at=1.0))
    desk.historian.close()

    assert [each.what for each in desk.read().happenings] == ["blocked"]
