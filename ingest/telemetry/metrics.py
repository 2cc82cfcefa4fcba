"""What is measured, under which names: every metric of the supervisor and of the workers, declared once.

The rule: no vendor here, and every label has values that settings or this software name, so that their number is bounded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ingest import errors
from ingest.events import DropReason, GapCause
from ingest.measures import Histogram
from ingest.telemetry.summary import FeedNumbers

PREFIX = "dramatiq_websocket_"

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; ``name`` is without the prefix, and without the ``_total`` of a counter."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ("feed",)

    @property
    def full_name(self) -> str:
        """The name under which a query finds it."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"


@dataclass(frozen=True, slots=True)
class FeedFigures:
    """One feed at the time of a scrape: what it counts, and what it measures."""

    label: str
    numbers: FeedNumbers
    round_trips: Histogram
    handler_seconds: Histogram
    read_frames: Histogram
    call_seconds: Histogram
    call_messages: Histogram


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "gauge", text, labels or ("feed",))


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "counter", text, labels or ("feed",))


def _histogram(name: str, text: str) -> Metric:
    return Metric(name, "histogram", text)


def _reconnect_reasons() -> tuple[str, ...]:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.EndReason)]
    others = (errors.EndReason, errors.Fenced, errors.Stopped)
    return tuple(kind.__name__ for kind in kinds if kind not in others and not kind.__name__.startswith("_"))


#: One number for each feed.
FEED: tuple[tuple[Metric, Callable[[FeedNumbers], float]], ...] = (
    (_gauge("connection_up", "1 while the connection is ready, else 0."), lambda each: each.connected),
    (_counter("frames", "Data frames read."), lambda each: each.frames),
    (
        _counter("received_bytes", "Bytes read from the server after the upgrade, without TLS, before messages are inflated."),
        lambda each: each.bytes,
    ),
    (_counter("emitted_payloads", "Payloads that the session emitted."), lambda each: each.emitted),
    (_counter("enqueued_payloads", "Payloads that Redis has confirmed."), lambda each: each.enqueued),
    (
        _counter("enqueued_messages", "Messages that Redis has confirmed; with batches, fewer than payloads."),
        lambda each: each.messages,
    ),
    (
        _gauge("backlog_messages", "Messages that are read and not confirmed by Redis, in memory and on disk."),
        lambda each: each.backlog,
    ),
    (_gauge("backlog_bytes", "Bytes of those in memory."), lambda each: each.backlog_bytes),
    (_gauge("spooled_payloads", "Payloads that are on disk alone."), lambda each: each.spooled),
    (_gauge("spool_bytes", "Bytes in the spool; what is confirmed and not yet deleted counts."), lambda each: each.spool_bytes),
    (
        _gauge("oldest_waiting_seconds", "Age of the oldest payload that waits for Redis; 0 if none waits."),
        lambda each: each.oldest_age or 0.0,
    ),
    (_gauge("lease_held", "1 while this process leads the feed, else 0."), lambda each: each.lease == "leads"),
    (_gauge("paused", "1 while an operator has paused the feed, else 0."), lambda each: each.paused),
)

#: One number for each feed and each way in which it can be: the label, its values, and the numbers by value.
BY_REASON: tuple[tuple[Metric, tuple[str, ...], Callable[[FeedNumbers], Mapping[str, float]]], ...] = (
    (
        _counter("dropped_payloads", "Payloads given up, by reason (`lost`: at the end of the process).", "feed", "reason"),
        get_args(DropReason),
        lambda each: {**each.drops, "lost": each.lost},
    ),
    (
        _counter(
            "reconnects",
            "Connections, or attempts, that ended and were tried again, by the kind of the reason.",
            "feed",
            "reason",
        ),
        _reconnect_reasons(),
        lambda each: each.reconnect_reasons,
    ),
    (
        _counter("gaps", "Intervals in which frames may be missing, by cause.", "feed", "cause"),
        get_args(GapCause),
        lambda each: each.gap_causes,
    ),
)

#: What is measured of each feed.
HISTOGRAMS: tuple[tuple[Metric, Callable[[FeedFigures], Histogram]], ...] = (
    (_histogram("ping_round_trip_seconds", "From our ping to its pong."), lambda each: each.round_trips),
    (
        _histogram("handler_seconds", "What the session's on_frame took for all frames of one read."),
        lambda each: each.handler_seconds,
    ),
    (_histogram("read_frames", "Frames, pings and pongs in what one read brought."), lambda each: each.read_frames),
    (_histogram("enqueue_seconds", "From a call to Redis to its reply."), lambda each: each.call_seconds),
    (_histogram("enqueue_messages", "Messages in one call to Redis."), lambda each: each.call_messages),
)

STATE = _gauge("feed_state", "1 for the state that the feed is in, 0 for the others.", "feed", "state")

#: One number for each queue, by its name in a snapshot.
QUEUE: tuple[tuple[Metric, str], ...] = (
    (_gauge("queue_depth", "Messages that workers may take now.", "queue"), "depth"),
    (_gauge("queue_delayed", "Messages that wait for their time: retries, mostly.", "queue"), "delayed"),
    (_gauge("queue_dead_letters", "Dead letters.", "queue"), "dead"),
    (_gauge("queue_high_watermark", "Messages at which feeds stop to enqueue.", "queue"), "high_watermark"),
)

INFO = _gauge("info", "Always 1; which version runs, and for which group.", "version", "group")
REDIS_UP = Metric("redis_up", "gauge", "1 while Redis answers this process and takes its writes, else 0.", ())
SINK_EVENTS = _counter(
    "telemetry_events", "Events for each receiver: handled, failed (it raised), dropped (it was too slow).", "sink", "outcome"
)

SUPERVISOR: tuple[Metric, ...] = (
    *(metric for metric, _ in FEED),
    STATE,
    *(metric for metric, _, _ in BY_REASON),
    *(metric for metric, _ in HISTOGRAMS),
    *(metric for metric, _ in QUEUE),
    INFO,
    REDIS_UP,
    SINK_EVENTS,
)

LAG = _histogram("frame_lag_seconds", "From the read of a frame to the first attempt of its actor.")
PROCESSED = _counter("processed_frames", "Frames that actors have done.")
FAILED = _counter("failed_frames", "Attempts at a frame that failed.")

WORKERS: tuple[Metric, ...] = (LAG, PROCESSED, FAILED)

#: Upper bounds of a lag, in seconds.
LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

#: Of more feeds than that a worker counts the rest under `OTHER`: who writes messages names their feed.
MOST_FEEDS = 500
OTHER = "other"
