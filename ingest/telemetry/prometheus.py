"""Metrics for Prometheus: the supervisor's, read when somebody asks, and the workers', in the files of Dramatiq's own middleware.

The rule: the only importer of ``prometheus_client``, which decides at its import whether processes share their metrics: a worker
imports this module once Dramatiq's middleware has said where.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from threading import Lock
from typing import Any

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ingest.measures import Histogram
from ingest.telemetry.bus import SinkCounts
from ingest.telemetry.metrics import (
    BY_REASON,
    FAILED,
    FEED,
    HISTOGRAMS,
    INFO,
    LAG,
    LAGS,
    MOST_FEEDS,
    OTHER,
    PREFIX,
    PROCESSED,
    QUEUE,
    REDIS_UP,
    SINK_EVENTS,
    STATE,
    FeedFigures,
    Metric,
)

#: Seconds for which an answer is given again, and how many times the CPU time it took where that is longer (half a second for 500
#: feeds): nobody can make the supervisor work for it more often, or for more than a tenth of a core.
FRESH = 0.5
FRESH_BY_COST = 10

Queues = Mapping[str, Mapping[str, int]]


class SupervisorMetrics:
    """The supervisor's metrics as text.

    Parameters:
      feeds: returns every feed as it is now.
      states: the states in which a feed can be.
      queues: returns the queues as they were last seen; None: Redis has not answered lately.
      sinks: returns what became of events.
      about: the version, and the group.
      redis_up: tells whether Redis answers, and takes what every process has to write.
    """

    def __init__(
        self,
        feeds: Callable[[], Sequence[FeedFigures]],
        states: Sequence[str],
        queues: Callable[[], Queues | None],
        sinks: Callable[[], Mapping[str, SinkCounts]],
        about: tuple[str, str],
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
        *,
        redis_up: Callable[[], bool],
    ) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        self._registry.register(_Supervisor(feeds, states, queues, sinks, about, redis_up))
        prometheus_client.ProcessCollector(registry=self._registry)
        prometheus_client.PlatformCollector(registry=self._registry)
        self._clock = clock
        self._answering = Lock()
        self._cpu = cpu
        self._answers: dict[str, tuple[float, bytes]] = {}

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return content type and text, in the format that suits an Accept header."""
        encode, content_type = choose_encoder(accept)
        with self._answering:
            now = self._clock()
            self._answers = {known: answer for known, answer in self._answers.items() if now < answer[0]}
            if content_type not in self._answers:
                began = self._cpu()
                text = encode(self._registry)
                fresh = max(FRESH, FRESH_BY_COST * (self._cpu() - began))
                self._answers[content_type] = self._clock() + fresh, text
            text = self._answers[content_type][1]
        return content_type, text


class _Supervisor(Collector):
    def __init__(
        self,
        feeds: Callable[[], Sequence[FeedFigures]],
        states: Sequence[str],
        queues: Callable[[], Queues | None],
        sinks: Callable[[], Mapping[str, SinkCounts]],
        about: tuple[str, str],
        redis_up: Callable[[], bool],
    ) -> None:
        self._feeds = feeds
        self._states = states
        self._queues = queues
        self._sinks = sinks
        self._about = about
        self._redis_up = redis_up

    def collect(self) -> Iterator[Family]:
        """Yield every family of metrics, from one look at the feeds."""
        feeds, queues = self._feeds(), self._queues()
        for metric, read in FEED:
            yield _family(metric, [((each.label,), read(each.numbers)) for each in feeds])
        yield self._state(feeds)
        for metric, values, by_value in BY_REASON:
            yield _family(metric, [point for each in feeds for point in _by_reason(each, values, by_value(each.numbers))])
        for metric, measured in HISTOGRAMS:
            yield _histogram(metric, [(each.label, measured(each)) for each in feeds])
        for metric, key in QUEUE:
            yield _family(metric, [((queue,), each[key]) for queue, each in (queues or {}).items()])
        yield _family(INFO, [(self._about, 1)])
        yield _family(REDIS_UP, [((), self._redis_up())])
        counts = [
            (name, {"handled": each.handled, "failed": each.failed, "dropped": each.dropped})
            for name, each in self._sinks().items()
        ]
        yield _family(SINK_EVENTS, [((name, outcome), count) for name, outcomes in counts for outcome, count in outcomes.items()])

    def _state(self, feeds: Sequence[FeedFigures]) -> Family:
        points: list[tuple[tuple[str, ...], float]] = []
        for each in feeds:
            shown = each.numbers.state
            states = self._states if shown in self._states else (*self._states, shown)
            points += [((each.label, state), state == shown) for state in states]
        return _family(STATE, points)


def _by_reason(feed: FeedFigures, values: Sequence[str], counts: Mapping[str, float]) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield a point for every value, also where it is 0: a series that begins with its first event hides that from `increase`."""
    for value in dict.fromkeys((*values, *counts)):
        yield (feed.label, value), counts.get(value, 0)


def _family(metric: Metric, points: Sequence[tuple[tuple[str, ...], float]]) -> Family:
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family: Any = make(PREFIX + metric.name, metric.help, labels=metric.labels)
    for labels, value in points:
        family.add_metric(labels, float(value))
    return family  # type: ignore[no-any-return]


def _histogram(metric: Metric, measured: Sequence[tuple[str, Histogram]]) -> Family:
    family = HistogramMetricFamily(PREFIX + metric.name, metric.help, labels=metric.labels)
    for label, histogram in measured:
        bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
        family.add_metric([label], list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.sum)
    return family


class WorkerMetrics:
    """One worker process's metrics by feed, where Dramatiq's own exposition finds them.

    Parameters:
      labels: the feeds' labels by their names.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        registry = prometheus_client.CollectorRegistry()
        self._lag = prometheus_client.Histogram(PREFIX + LAG.name, LAG.help, LAG.labels, buckets=LAGS, registry=registry)
        self._processed = prometheus_client.Counter(PREFIX + PROCESSED.name, PROCESSED.help, PROCESSED.labels, registry=registry)
        self._failed = prometheus_client.Counter(PREFIX + FAILED.name, FAILED.help, FAILED.labels, registry=registry)
        self._labels = dict(labels)
        for label in {*self._labels.values()}:
            self._begin(label)

    def lag(self, feed: str, seconds: float) -> None:
        """Note how old a frame was when its actor began."""
        self._lag.labels(self._label(feed)).observe(max(0.0, seconds))

    def done(self, feed: str, processed: int, failed: int) -> None:
        """Count frames that are done, and attempts that failed."""
        label = self._label(feed)
        if processed:
            self._processed.labels(label).inc(processed)
        if failed:
            self._failed.labels(label).inc(failed)

    def _begin(self, label: str) -> None:
        """Show both counts from 0 on: without the one a query that compares them says nothing, and its alert does not come."""
        self._processed.labels(label)
        self._failed.labels(label)

    def _label(self, feed: str) -> str:
        label = self._labels.get(feed)
        if label is None:
            label = OTHER if len(self._labels) >= MOST_FEEDS else self._labels.setdefault(feed, feed)
            self._begin(label)
        return label
