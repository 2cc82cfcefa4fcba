"""Events to the log: one line each, its level by kind; and the set-up of logging for both kinds of process.

The rule: what a line shows comes from `ingest.telemetry.facts`, how it looks from `ingest.telemetry.lines`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal

from ingest import events
from ingest.clock import Monotonic, monotonic
from ingest.errors import Stopped
from ingest.events import Event
from ingest.telemetry.facts import Plain, event_cause, event_fields, event_name
from ingest.telemetry.lines import AT, FIELDS, ConsoleFormatter, JsonFormatter
from ingest.telemetry.storms import Storms, Summary

LogFormat = Literal["console", "json"]

#: The level of every kind of event; what an operator must act on is an error.
LEVELS = MappingProxyType(
    {
        events.ConnectionOpened: logging.DEBUG,
        events.BootstrapSent: logging.DEBUG,
        events.ConnectionReady: logging.INFO,
        events.ConnectionFailed: logging.WARNING,
        events.ConnectionLost: logging.WARNING,
        events.ConnectionTimedOut: logging.WARNING,
        events.ConnectionStatus: logging.DEBUG,
        events.StateChanged: logging.DEBUG,
        events.RetryScheduled: logging.INFO,
        events.FeedGaveUp: logging.ERROR,
        events.FeedRestarted: logging.ERROR,
        events.HandlerFailed: logging.ERROR,
        events.CallbackSlow: logging.WARNING,
        events.CallbackReturned: logging.INFO,
        events.FeedBlocked: logging.WARNING,
        events.FeedUnblocked: logging.INFO,
        events.FeedPaused: logging.WARNING,
        events.FeedResumed: logging.INFO,
        events.BrokerUnavailable: logging.ERROR,
        events.BrokerRecovered: logging.INFO,
        events.QueueForgotten: logging.ERROR,
        events.DropsBegan: logging.ERROR,
        events.FramesDropped: logging.ERROR,
        events.SpoolingBegan: logging.WARNING,
        events.SpoolingEnded: logging.INFO,
        events.SpoolTrouble: logging.ERROR,
        events.LeaseTaken: logging.INFO,
        events.LeaseReleased: logging.INFO,
        events.LeaseLost: logging.ERROR,
        events.StandingBy: logging.INFO,
        events.FeedNameTaken: logging.ERROR,
        events.MessageRejected: logging.ERROR,
        events.QueueStalled: logging.WARNING,
        events.DeadLettersGrew: logging.WARNING,
        events.GapFound: logging.WARNING,
        events.FeedDrained: logging.INFO,
        events.SinkFailed: logging.ERROR,
        events.SinkOverloaded: logging.ERROR,
    }
)

logger = logging.getLogger("dramatiq_websocket")


def configure_logging(level: str, log_format: LogFormat = "console", context: logging.Filter | None = None) -> None:
    """Send the whole process's log to standard error, from ``level`` (a name of `logging`) on; replaces what was set up.

    ``context`` sees every record, whoever made it, and may say where it comes from (`ingest.telemetry.lines.CONTEXT`).
    """
    handler = logging.StreamHandler(sys.stderr)
    if context is not None:
        handler.addFilter(context)
    handler.setFormatter(JsonFormatter() if log_format == "json" else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def log_event(
    level: int, name: str, fields: dict[str, Plain], *, at: float | None = None, cause: BaseException | None = None
) -> None:
    """Write one line: an event's name and fields; ``at`` is wall-clock seconds where it is not now."""
    extra: dict[str, object] = {FIELDS: fields}
    if at is not None:
        extra[AT] = at
    logger.log(level, name, extra=extra, exc_info=cause)


class LogSink:
    """Every event as one line of the log, with the traceback where code raised; storms of them as summaries."""

    name = "log"

    def __init__(self, clock: Monotonic = monotonic) -> None:
        self._clock = clock
        self._storms: Storms[Event] = Storms(_amount)

    def handle(self, event: Event) -> None:
        level, now = level_of(event), self._clock()
        if not logger.isEnabledFor(level):
            return
        due, single = self._storms.take(_kind(event), event, now) if level > logging.DEBUG else ([], True)
        self._sum_up(due)
        if single:
            log_event(level, event_name(type(event)), event_fields(event), at=event.at, cause=event_cause(event))
        self._sum_up(self._storms.due(now))

    def tick(self) -> None:
        """Sum up the storms that are over, or have gone on for a minute."""
        self._sum_up(self._storms.due(self._clock()))

    def close(self) -> None:
        self._sum_up(self._storms.end(self._clock()))
        for handler in logging.getLogger().handlers:
            handler.flush()

    def _sum_up(self, summaries: Sequence[Summary[Event]]) -> None:
        for each in summaries:
            last = event_fields(each.last)
            fields: dict[str, Plain] = {"feed": last["feed"], "times": each.times, "seconds": each.seconds} | last
            if each.amount is not None:
                fields["count"] = each.amount
            log_event(level_of(each.last), f"{event_name(type(each.last))}_repeated", fields, at=each.last.at)


def _kind(event: Event) -> tuple[object, ...]:
    """Return what of a feed's events is one storm."""
    match event:
        case events.DropsBegan(reason=which) | events.FramesDropped(reason=which) | events.GapFound(cause=which):
            return event.telemetry_id, type(event), which
        case _:
            return event.telemetry_id, type(event)


def _amount(event: Event) -> int | None:
    match event:
        case events.FramesDropped(count=count) | events.GapFound(count=count):
            return count
        case _:
            return None


def level_of(event: Event) -> int:
    """Return the event's level; an ending that we asked for is no warning."""
    if isinstance(getattr(event, "reason", None), Stopped):
        return logging.INFO
    return LEVELS.get(type(event), logging.INFO)
