"""Notes what the feeds do, for the history in Redis: a point every ten seconds, and what happens to their connections.

The rule: the sink only remembers, within bounds; the reporter's thread alone talks to Redis. What Redis does not take is dropped
and counted, and nobody waits for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import redis

from ingest.broker.history import INTERVAL, LONGEST_DETAIL, MOST_HAPPENINGS, Happening, Point, write_history
from ingest.broker.keys import Keys
from ingest.broker.queues import QueueDepth
from ingest.broker.status import read_statuses, slowest_lags
from ingest.clock import Monotonic, monotonic, wall_us
from ingest.errors import BrokerError
from ingest.events import Event
from ingest.service.runner import FeedRunner
from ingest.telemetry.facts import event_fields, event_name
from ingest.telemetry.summary import FeedNumbers

#: What of all events (by their names) belongs to the history of a connection, and the word for it there.
WORDS = MappingProxyType(
    {
        "connection_ready": "ready",
        "connection_lost": "lost",
        "connection_failed": "failed",
        "feed_gave_up": "gave up",
        "feed_restarted": "crashed",
        "feed_blocked": "blocked",
        "feed_unblocked": "unblocked",
        "feed_paused": "paused",
        "feed_resumed": "resumed",
        "lease_taken": "leads",
        "lease_lost": "lead lost",
        "feed_name_taken": "name taken",
    }
)

#: A feed's state in which another supervisor makes the points.
_STANDS_BY = "STANDBY"


class Historian:
    """A sink of events that remembers, and what the reporter calls to have it written.

    Parameters:
      where: this process, as ``host:pid``.
    """

    name = "history"

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        group: str,
        where: str,
        clock: Monotonic = monotonic,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self._client = client
        self._keys = keys
        self._group = group
        self._feeds: dict[str, str] = {}  # the feeds' names by their labels (`telemetry_id`)
        self._where = where
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._news: dict[str, deque[Happening]] = {}
        self._dropped = 0
        self._noted: dict[str, FeedNumbers] = {}
        self._noted_at = clock()
        self._answers = True

    @property
    def dropped(self) -> int:
        """Points and happenings that are in no history: Redis was away too long."""
        return self._dropped

    def know(self, label: str, feed: str) -> None:
        """Remember from now on what events with this label (``telemetry_id``) tell of a feed."""
        with self._lock:
            self._feeds[label] = feed
            self._news.setdefault(feed, deque())

    def handle(self, event: Event) -> None:
        """Remember an event that belongs to the history; of more than fit into it, the oldest go."""
        word, feed = WORDS.get(event_name(type(event))), self._feeds.get(event.telemetry_id)
        if word is None or feed is None:
            return
        happening = Happening(at=event.at, what=word, detail=_detail(event), where=self._where)
        with self._lock:
            self._remember(feed, [happening])

    def close(self) -> None:
        """Have the last events written, if Redis has answered so far."""
        if self._answers:
            self._write({}, self._take())

    def write(self, runners: Sequence[FeedRunner], depths: Mapping[str, QueueDepth]) -> None:
        """Write what is due; never raises for Redis's sake."""
        points = self._due(runners, depths)
        news = self._take()
        try:
            lags = slowest_lags(read_statuses(self._client, self._keys.namespace)) if points else {}
        except BrokerError:
            lags = {}
        for feed, (p50, p99) in lags.items():
            if feed in points:
                points[feed] = replace(points[feed], lag_p50=p50, lag_p99=p99)
        self._write(points, news)

    def skip(self, runners: Sequence[FeedRunner]) -> None:
        """Take that Redis is away: points that are due are lost, happenings are kept for later."""
        self._answers = False
        self._count(len(self._due(runners, {})))

    def _write(self, points: Mapping[str, Point], news: Mapping[str, Sequence[Happening]]) -> None:
        try:
            write_history(self._client, self._keys, self._group, points, news)
        except BrokerError:
            self._answers = False
            self._count(len(points))
            with self._lock:
                for feed, happenings in news.items():
                    self._remember(feed, happenings, back=True)
        else:
            self._answers = True

    def _due(self, runners: Sequence[FeedRunner], depths: Mapping[str, QueueDepth]) -> dict[str, Point]:
        """Return the points, every `INTERVAL` seconds; of a feed that stands by there is none."""
        seconds = self._clock() - self._noted_at
        if seconds < INTERVAL:
            return {}
        before, self._noted = self._noted, {runner.settings.name: runner.numbers() for runner in runners}
        self._noted_at += seconds
        at = self._wall() / 1_000_000
        points = {}
        for runner in runners:
            feed, depth = runner.settings.name, depths.get(runner.settings.queue)
            now, old = self._noted[feed], before.get(feed, FeedNumbers())
            if now.state != _STANDS_BY:
                points[feed] = Point(
                    at=at,
                    state=now.state,
                    frames=round((now.frames - old.frames) / seconds, 1),
                    enqueued=round((now.enqueued - old.enqueued) / seconds, 1),
                    depth=depth.ready if depth is not None else 0,
                )
        return points

    def _take(self) -> dict[str, list[Happening]]:
        with self._lock:
            taken = {feed: list(news) for feed, news in self._news.items() if news}
            for news in self._news.values():
                news.clear()
        return taken

    def _remember(self, feed: str, happenings: Sequence[Happening], *, back: bool = False) -> None:
        """Add happenings, or put them back before the others; holds the lock."""
        news = self._news[feed]
        if back:
            news.extendleft(reversed(happenings))
        else:
            news.extend(happenings)
        while len(news) > MOST_HAPPENINGS:
            news.popleft()
            self._dropped += 1

    def _count(self, dropped: int) -> None:
        with self._lock:
            self._dropped += dropped


def _detail(event: Event) -> str:
    """Return what happened in a few words, without secrets: the reason's kind and text, or the event's own fields."""
    fields = event_fields(event)
    del fields["feed"]
    reason, detail = fields.pop("reason", None) or fields.pop("error", None), fields.pop("detail", None)
    rest = ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in fields.items())
    said = ": ".join(str(part) for part in (reason, detail) if part)
    return ", ".join(filter(None, (said, rest)))[:LONGEST_DETAIL]
