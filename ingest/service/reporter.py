"""Tells Redis every second how the feeds are, asks what operators want, and watches the queues. The thread ``report``.

The rule: reporting is a courtesy; when Redis is away it says nothing and nobody waits for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import redis

from ingest.broker.queues import QueueDepth, queue_depths
from ingest.broker.status import about_process, publish_status
from ingest.clock import Monotonic, monotonic
from ingest.errors import BrokerError, BrokerRefused
from ingest.events import Publish
from ingest.measures import Pulse
from ingest.service.historian import Historian
from ingest.service.runner import FeedRunner
from ingest.service.watch import QueueWatch
from settings.masking import mask_url
from settings.model import FeedSettings

INTERVAL = 1.0

#: Seconds after which what was seen of Redis says nothing of it any more.
STALE = 5.0


class Reporter:
    """Publishes the supervisor's snapshot, and warns of queues that nobody empties.

    Parameters:
      obey: looks what operators want; called every second, before the snapshot.
    """

    def __init__(
        self,
        client: redis.Redis,
        namespace: str,
        runners: Sequence[FeedRunner],
        publish: Publish,
        *,
        group: str = "",
        history: Historian | None = None,
        obey: Callable[[], object] = lambda: None,
        clock: Monotonic = monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._runners = runners
        self._watches: Sequence[QueueWatch] = ()
        self._publish = publish
        self._history = history
        self._obey = obey
        self._clock = clock
        self._seen: tuple[float, dict[str, dict[str, int]]] | None = None
        self._refusal = ""
        #: Whether the thread still turns.
        self.pulse = Pulse(clock)
        self._process = about_process() | {"group": group}
        self._id = f"{self._process['host']}:{self._process['pid']}:{secrets.token_hex(4)}"

    def watch(self, watches: Sequence[QueueWatch]) -> None:
        """Look after these queues from now on; one that was looked after already is as it was, but for its limit."""
        known = {(watch.label, watch.queue, watch.high_watermark): watch for watch in self._watches}
        self._watches = [known.get((watch.label, watch.queue, watch.high_watermark), watch) for watch in watches]

    def run(self, stop: Event) -> None:
        """Report until ``stop`` is set."""
        while not stop.wait(INTERVAL):
            self.pulse.beat()
            self._obey()
            self.report()
        self.pulse.rest()

    def queues(self) -> dict[str, dict[str, int]] | None:
        """Return the queues as a snapshot shows them, seen a moment ago; None: Redis has not answered since."""
        seen = self._seen
        return seen[1] if seen is not None and self._clock() - seen[0] <= STALE else None

    def trouble(self) -> str:
        """Return why Redis is of no use at the moment, "" if it is: it answers, and takes snapshots."""
        if self.queues() is None:
            return self._refusal or "Redis does not answer"
        return self._refusal

    def report(self, *, final: bool = False) -> bool:
        """Publish one snapshot and look at the queues once; tell whether Redis took it."""
        depths: dict[str, QueueDepth] | None = None
        try:
            depths = queue_depths(self._client, self._namespace, [watch.queue for watch in self._watches])
            self._seen = self._clock(), {watch.queue: _shown(watch, depths[watch.queue]) for watch in self._watches}
            publish_status(self._client, self._namespace, "supervisor", self._id, self._snapshot(self._seen[1]), final)
            self._refusal = ""
        except BrokerError as error:
            self._refusal = _refusal(error, read=depths is not None)
            if self._history is not None:
                self._history.skip(self._runners)
            return False  # the publishers tell of it; the snapshot in Redis expires by itself
        for runner in self._runners:
            runner.hear()
        if self._history is not None:
            self._history.write(self._runners, depths)
        now = self._clock()
        for watch in self._watches:
            for event in watch.observe(depths[watch.queue], now):
                self._publish(event)
        return True

    def _snapshot(self, queues: dict[str, dict[str, int]]) -> dict[str, Any]:
        return {
            "feeds": {runner.settings.name: runner.numbers().plain() | _where(runner.settings) for runner in self._runners},
            "queues": queues,
            "history_dropped": self._history.dropped if self._history is not None else 0,
            **self._process,
        }


def _refusal(error: BrokerError, *, read: bool) -> str:
    """Return in Redis's own words what it refuses, which is writes alone if it let us ``read``; "" if it has not answered."""
    if not isinstance(error, BrokerRefused):
        return ""
    return f"Redis refuses writes: {error.code} {error.detail}".rstrip() if read else str(error)


def _where(feed: FeedSettings) -> dict[str, str]:
    return {"queue": feed.queue, "actor": feed.actor, "url": mask_url(feed.url, feed.secrets)}


def _shown(watch: QueueWatch, depth: QueueDepth) -> dict[str, int]:
    return {
        "depth": depth.ready,
        "delayed": depth.delayed,
        "dead": depth.dead,
        "died_lately": watch.died_lately,
        "stalled_seconds": round(watch.stalled_seconds),
        "high_watermark": watch.high_watermark,
    }
