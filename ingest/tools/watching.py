"""Looks at the whole system through Redis, again and again, for whoever shows it.

The rule: reads only, with short time-outs; a Redis that does not answer is a `BrokerError`, and the next look tries anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from ingest.broker.clients import make_client
from ingest.broker.history import INTERVAL, KEPT, FeedHistory, FeedId, read_history
from ingest.broker.keys import Keys
from ingest.broker.refusal import find_refusal
from ingest.broker.status import read_processes
from ingest.clock import Deadline, Monotonic, monotonic
from ingest.tools.overview import Observer
from ingest.tools.views import Overview
from settings.model import BrokerSettings

#: Seconds until a connection must stand, and until an answer must have come.
TIMEOUT = 2.0

#: Seconds between two looks of `Watcher.settled`; processes tell of themselves every second.
GLANCE = 0.2


class Watcher:
    """Makes an `Overview` at each look; for one thread.

    Parameters:
      expected: feeds that are shown although nobody tells of them.
      history: whether the feeds' points and happenings are read too, anew every ten seconds.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        expected: Iterable[FeedId] = (),
        *,
        history: bool = False,
        timeout: float = TIMEOUT,
        clock: Monotonic = monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._client = make_client(
            **broker.endpoint(),
            max_connections=1,
            connect_timeout=timeout,
            socket_timeout=timeout,
        )
        self._keys = Keys(broker.namespace)
        self._observer = Observer(expected)
        self._wants_history = history
        self._clock = clock
        self._wall = wall
        self._histories: dict[FeedId, FeedHistory] = {}
        self._read_at = float("-inf")

    def look(self) -> Overview:
        """Return what is there now; raises `ingest.errors.BrokerError`."""
        reading = read_processes(self._client, self._keys.namespace)
        if reading.is_silent:  # a Redis that takes no snapshots looks just as if all were dead
            reading = replace(reading, refusal=find_refusal(self._client))
        overview = self._observer.take(reading, self._histories)
        if not self._wants_history or not self._history_due(overview):
            return overview
        self._histories = read_history(self._client, self._keys, [feed.id for feed in overview.feeds], since=self._wall() - KEPT)
        self._read_at = self._clock()
        return self._observer.take(reading, self._histories)

    def settled(self, seconds: float) -> Overview:
        """Look until all rates are known, or for so many seconds; return the last look."""
        deadline = Deadline(seconds, self._clock)
        overview = self.look()
        while not self._observer.settled and not deadline.expired:
            time.sleep(min(GLANCE, deadline.remaining()))
            overview = self.look()
        return overview

    def close(self) -> None:
        self._client.close()

    def _history_due(self, overview: Overview) -> bool:
        return self._clock() - self._read_at >= INTERVAL or any(feed.id not in self._histories for feed in overview.feeds)
