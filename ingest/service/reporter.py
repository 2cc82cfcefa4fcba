"""Tells Redis every second how the feeds are, and watches the queues that they fill. The thread ``report``.

The rule: reporting is a courtesy; when Redis is away it says nothing and nobody waits for it.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import asdict
from threading import Event
from typing import Any

import redis

from ingest.broker.queues import QueueDepth, queue_depths
from ingest.broker.status import publish_status
from ingest.clock import Monotonic, monotonic
from ingest.errors import BrokerError
from ingest.events import Publish
from ingest.service.runner import FeedRunner
from ingest.service.watch import QueueWatch

INTERVAL = 1.0


class Reporter:
    """Publishes the supervisor's snapshot, and warns of queues that nobody empties."""

    def __init__(
        self,
        client: redis.Redis,
        namespace: str,
        runners: Sequence[FeedRunner],
        watches: Sequence[QueueWatch],
        publish: Publish,
        clock: Monotonic = monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._runners = runners
        self._watches = watches
        self._publish = publish
        self._clock = clock
        self._id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def run(self, stop: Event) -> None:
        """Report until ``stop`` is set."""
        while not stop.wait(INTERVAL):
            self.report()

    def report(self, *, final: bool = False) -> bool:
        """Publish one snapshot and look at the queues once; tell whether Redis took it."""
        try:
            depths = queue_depths(self._client, self._namespace, [watch.queue for watch in self._watches])
            publish_status(self._client, self._namespace, "supervisor", self._id, self._snapshot(depths), final)
        except BrokerError:
            return False  # the publishers tell of it; the snapshot in Redis expires by itself
        for runner in self._runners:
            runner.hear()
        now = self._clock()
        for watch in self._watches:
            for event in watch.observe(depths[watch.queue], now):
                self._publish(event)
        return True

    def _snapshot(self, depths: dict[str, QueueDepth]) -> dict[str, Any]:
        return {
            "feeds": {
                runner.settings.name: asdict(runner.numbers()) | {"queue": runner.settings.queue} for runner in self._runners
            },
            "queues": {queue: {"depth": depth.ready, "dead": depth.dead} for queue, depth in depths.items()},
        }
