"""Counts what becomes of each feed's messages and how old their frames are, and has it published as the worker's status.

Where Dramatiq's own Prometheus middleware is in place, the same goes into its registry.

The rule: a few dictionary updates a message; the telling happens in the reporter's thread, made after the fork.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import dramatiq

from ingest.broker.assembly import is_worker_metrics
from ingest.clock import wall_us
from settings.wire import Frame
from workers.exposition import open_metrics
from workers.lag import LagWindow
from workers.middleware.frame_context import current_message
from workers.reporter import PublishStatus, Snapshot, StatusReporter

if TYPE_CHECKING:
    from ingest.telemetry.prometheus import WorkerMetrics


#: Seconds that ``processed_lately`` and ``failed_lately`` look back, and in how many steps.
LATELY = 60.0
STEPS = 12


class FrameMetrics(dramatiq.Middleware):
    """Per feed: frames done, attempts at a frame that failed, and the lag from the wire to the actor over the last seconds.

    ``labels``: the feeds' labels by their names, for metrics.
    """

    def __init__(self, publish: PublishStatus, labels: Mapping[str, str] = MappingProxyType({})) -> None:
        self._labels = labels
        self._metrics: WorkerMetrics | None = None
        self._lock = threading.Lock()
        self._feeds: dict[str, _Feed] = {}
        self._reporter = StatusReporter(publish, self.snapshot)

    def snapshot(self) -> Snapshot:
        """Return by feed what was done and what failed, since the start and in the last minute, and the lag (ms)."""
        now = time.monotonic()
        with self._lock:
            return {"feeds": {name: feed.shown(now) for name, feed in self._feeds.items()}}

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        if any(is_worker_metrics(middleware) for middleware in broker.middleware):
            self._metrics = open_metrics(self._labels)
        self._reporter.start()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._reporter.stop()

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        # A retry is late by its backoff; only a first attempt says how far behind the workers are.
        frame = None if "retries" in message.options else Frame.of(message.options)
        if frame is not None:
            lag_ms = (wall_us() - frame.received_us) / 1000
            with self._lock:
                self._feed(frame.feed).lag.record(lag_ms, time.monotonic())
            if self._metrics is not None:
                self._metrics.lag(frame.feed, lag_ms / 1000)

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        frame = Frame.of(message.options)
        if frame is None:
            return
        current = current_message()
        failed, resent = (current.failed, current.resent) if current is not None else (0, 0)
        if exception is not None:
            failed, resent = frame.count, 0
        processed = frame.count - failed - resent
        with self._lock:
            feed = self._feed(frame.feed)
            feed.processed += processed
            feed.failed += failed
        if self._metrics is not None:
            self._metrics.done(frame.feed, processed, failed)

    def _feed(self, name: str) -> _Feed:
        return self._feeds.setdefault(name, _Feed())


class _Feed:
    """The counts of one feed."""

    __slots__ = ("_past", "failed", "lag", "processed")

    def __init__(self) -> None:
        self.processed = self.failed = 0
        self.lag = LagWindow()
        self._past: deque[tuple[float, int, int]] = deque([(-LATELY, 0, 0)])

    def shown(self, now: float) -> dict[str, Any]:
        lag = self.lag.percentiles((0.5, 0.99), now)
        lag_ms = None if lag is None else {"p50": round(lag[0], 2), "p99": round(lag[1], 2)}
        processed, failed = self._lately(now)
        return {
            "processed": self.processed,
            "failed": self.failed,
            "processed_lately": processed,
            "failed_lately": failed,
            "lag_ms": lag_ms,
        }

    def _lately(self, now: float) -> tuple[int, int]:
        """Return what was done and what failed since about a minute ago; asked once a second, so it costs a message nothing."""
        past = self._past
        if now - past[-1][0] >= LATELY / STEPS:
            past.append((now, self.processed, self.failed))
        while len(past) > 1 and past[1][0] <= now - LATELY:
            past.popleft()
        return self.processed - past[0][1], self.failed - past[0][2]
