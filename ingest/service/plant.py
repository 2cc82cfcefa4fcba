"""What the supervisor runs, and how feeds come into it and leave it.

The rule: holds the parts that `ingest.service.build` has put together; a feed is in all of them or in none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.limits import Limits
from ingest.service.feed_builder import FeedBuilder
from ingest.service.gap_writer import GapWriter
from ingest.service.health import Health
from ingest.service.http import HTTPServer
from ingest.service.keeper import Keeper
from ingest.service.pause_watch import PauseWatch
from ingest.service.references import FeedCode
from ingest.service.reporter import Reporter
from ingest.service.roster import Roster
from ingest.service.runner import FeedRunner, Kept
from ingest.service.spools import OpenSpool
from ingest.service.watch import QueueWatch
from ingest.telemetry.bus import Bus
from ingest.telemetry.prometheus import SupervisorMetrics
from settings.model import FeedSettings, Settings


@dataclass(frozen=True, slots=True)
class Plant:
    """The parts of one supervisor."""

    runners: Roster
    builder: FeedBuilder
    keeper: Keeper
    gaps: GapWriter
    pauses: PauseWatch
    reporter: Reporter
    bus: Bus
    broker: RateLimitedBroker
    health: Health
    metrics: SupervisorMetrics
    listener: HTTPServer | None = None

    def add(
        self,
        feed: FeedSettings,
        code: FeedCode,
        spool: OpenSpool | None,
        *,
        memory: dict[str, Any] | None = None,
        before: str = "",
    ) -> FeedRunner:
        """Build one more feed, and return it; it is not started yet.

        Parameters:
          memory: what its sessions remember of earlier connections.
          before: the producer that this process led the feed with, before its settings changed.
        """
        built = self.builder.build(feed, code, spool, memory=memory, before=before)
        built.tenure.on_lost = self.keeper.wake
        self.runners.add(built.runner)
        self.keeper.add(built.claim)
        return built.runner

    def remove(self, runner: FeedRunner) -> Kept:
        """Give back the lead and the spool of a feed that has ended, and forget it but for its numbers and what is returned."""
        self.keeper.remove(runner.settings.name, close=lambda: runner.close([]))
        self.runners.remove(runner)
        return runner.kept()

    def watch_queues(self, settings: Settings) -> None:
        """Look from now on after the queues of the feeds that there are."""
        feeds = [runner.settings for runner in self.runners]
        self.reporter.watch(
            [QueueWatch(feed.label, feed.queue, settings.queue(feed.queue).high_watermark) for feed in _one_a_queue(feeds)]
        )

    def set_limits(self, settings: Settings, queues: Sequence[str]) -> None:
        """Let these queues take what the settings say, from the next call on."""
        self.broker.set_limits({name: limits_of(settings, name) for name in queues})

    def close(self, timeout: float) -> None:
        """Let telemetry finish, within ``timeout`` seconds, and close what is still open."""
        if self.listener is not None:
            self.listener.close()
        self.bus.close(timeout)
        with suppress(OSError):
            self.broker.close()


def limits_of(settings: Settings, queue: str) -> Limits:
    """Return what a queue takes."""
    demand = settings.queue(queue)
    return Limits(demand.high_watermark, demand.low_watermark, demand.rate_limit, demand.burst)


def _one_a_queue(feeds: Sequence[FeedSettings]) -> list[FeedSettings]:
    by_queue: Mapping[str, FeedSettings] = {feed.queue: feed for feed in reversed(feeds)}
    return list(by_queue.values())
