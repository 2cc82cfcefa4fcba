"""Failures to Sentry: one issue per cause, with the connection's history as breadcrumbs.

The rule: the only importer of ``sentry_sdk``; no header value, local variable or secret part of a URL leaves the process, and of
frames only the beginning of one at which code of the user's failed, where that is asked for (``[telemetry] send_frames``).
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sentry_sdk
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.dramatiq import DramatiqIntegration
from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger
from sentry_sdk.types import Event as SentryEvent
from sentry_sdk.types import Hint
from sentry_sdk.utils import get_default_release

from ingest.events import (
    ConnectionFailed,
    ConnectionLost,
    ConnectionReady,
    ConnectionTimedOut,
    Event,
    FeedBlocked,
    FeedGaveUp,
    FeedRestarted,
    FeedUnblocked,
    HandlerFailed,
    MessageRejected,
    RetryScheduled,
)
from ingest.telemetry.facts import event_fields, event_name
from ingest.telemetry.masking import mask_text
from ingest.version import DISTRIBUTION, project_version

Kind = Literal["supervisor", "worker"]

#: What an issue tells of the connection before it.
HISTORY = (ConnectionReady, ConnectionFailed, ConnectionLost, ConnectionTimedOut, RetryScheduled, FeedBlocked, FeedUnblocked)
HISTORY_LENGTH = 30

#: Seconds in which one cause is sent at most once: a feed that fails at every attempt must not use up a quota.
QUIET = 60.0

#: So many causes are remembered before those are forgotten that may be sent again.
MOST_CAUSES = 1000

#: Where a worker's failures come from: Sentry's own integration, and our log line about one frame of many.
_BY_DRAMATIQ, _BY_FRAME_ACTOR = "dramatiq", "workers.actors"

#: So much of a frame is sent, in characters.
LONGEST_FRAME = 2000

#: Seconds that the last events may take to leave the process.
FLUSH_TIMEOUT = 2.0


def init_sentry(dsn: str, kind: Kind, release: str | None = None) -> None:
    """Start Sentry for this process; call before the broker is made, because the integration patches its construction.

    Without ``release`` the SDK finds that of the application (``SENTRY_RELEASE``, git, the platform's variables); where there is
    none, it is our own version.
    """
    sentry_sdk.init(
        dsn=dsn,
        release=release or get_default_release() or f"{DISTRIBUTION}@{project_version()}",
        integrations=_integrations(kind),
        auto_enabling_integrations=False,  # the one for Redis would make a breadcrumb of every command
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",  # a message's arguments are the frame
        before_send=_mask_event if kind == "supervisor" else _Failures().before_send,
        before_breadcrumb=_mask_breadcrumb,
    )
    sentry_sdk.set_tag("process", kind)


def _integrations(kind: Kind) -> list[Integration]:
    if kind == "supervisor":
        # Its issues come from events (`SentrySink`); log lines of the same failures would double them.
        return [LoggingIntegration(level=None, event_level=None, sentry_logs_level=None)]
    # Dramatiq's own lines about a failed message contain its arguments; the integration reports the failure itself.
    ignore_logger("dramatiq.worker.*")
    return [DramatiqIntegration(), LoggingIntegration(sentry_logs_level=None)]


class _Quiet:
    """Lets each cause pass once in `QUIET` seconds; for any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sent: dict[tuple[str, ...], float] = {}

    def is_due(self, cause: tuple[str, ...]) -> bool:
        now = self._clock()
        with self._lock:
            if now - self._sent.get(cause, -QUIET) < QUIET:
                return False
            if len(self._sent) >= MOST_CAUSES:
                self._sent = {known: at for known, at in self._sent.items() if now - at < QUIET}
            self._sent[cause] = now
            return True


class _Failures:
    """Makes one issue of each cause for which a worker's actors fail, and lets it be told once in a while.

    Dramatiq tries a failed message again, twenty times by its defaults and over days: the first attempt is told of, so nobody
    waits for the last, and the thousand of other frames that fail alike are not.
    """

    def __init__(self, quiet: _Quiet | None = None) -> None:
        self._quiet = quiet or _Quiet()

    def before_send(self, event: SentryEvent, hint: Hint) -> SentryEvent | None:
        cause = failure_of(event)
        if cause is not None:
            if not self._quiet.is_due(cause):
                return None
            event["fingerprint"] = list(cause)
        return _mask_event(event, hint)


class SentrySink:
    """Keeps each feed's connection history, and makes an issue of what needs a person."""

    name = "sentry"

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, send_frames: bool = False) -> None:
        self._quiet = _Quiet(clock)
        self._send_frames = send_frames
        self._history: defaultdict[str, deque[Event]] = defaultdict(lambda: deque(maxlen=HISTORY_LENGTH))

    def handle(self, event: Event) -> None:
        if isinstance(event, HISTORY):
            self._history[event.telemetry_id].append(event)
        fingerprint = fingerprint_of(event)
        if fingerprint is not None and self._quiet.is_due(fingerprint):
            self._capture(event, fingerprint)

    def close(self) -> None:
        sentry_sdk.flush(timeout=FLUSH_TIMEOUT)

    def _capture(self, event: Event, fingerprint: tuple[str, ...]) -> None:
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()
            scope.fingerprint = list(fingerprint)
            scope.set_tag("feed", event.telemetry_id)
            scope.set_context("event", dict(event_fields(event)))
            if self._send_frames and isinstance(event, HandlerFailed) and event.frame is not None:
                scope.set_context("frame", {"payload": frame_text(event.frame)})
            for past in self._history[event.telemetry_id]:
                scope.add_breadcrumb(_breadcrumb(past))
            cause = _exception(event)
            if cause is not None:
                scope.capture_exception(cause)
            else:
                scope.capture_message(event_name(type(event)), level="error")


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What an event of a worker says of the frame behind it; ``payload`` only where frames may be sent."""

    feed: str
    seq: int
    lag: float
    payload: str | None = None


def describe_frame(facts: Callable[[], FrameFacts | None]) -> None:
    """Let every event of the message that this thread processes say which frame it is about; asked when there is an event."""

    def describe(event: SentryEvent, hint: Hint) -> SentryEvent | None:
        found = facts()
        if found is not None:
            about: dict[str, object] = {"seq": found.seq, "lag": found.lag}
            if found.payload is not None:
                about["payload"] = found.payload
            event["tags"] = {**event.get("tags", {}), "feed": found.feed}
            event["contexts"] = {**event.get("contexts", {}), "frame": about}
        return event

    sentry_sdk.get_isolation_scope().add_event_processor(describe)


def frame_text(payload: object) -> str:
    """Return the beginning of a frame as text, secrets masked."""
    if isinstance(payload, bytes):
        text = payload[: 2 * LONGEST_FRAME].decode(errors="replace")
    elif isinstance(payload, str):
        text = payload[: 2 * LONGEST_FRAME]
    else:
        text = json.dumps(payload, default=str)[: 2 * LONGEST_FRAME]
    masked = mask_text(text)  # before it is cut: half a secret is one that nobody recognises
    return masked if len(masked) <= LONGEST_FRAME else f"{masked[:LONGEST_FRAME]}…"


def fingerprint_of(event: Event) -> tuple[str, ...] | None:
    """Return what makes an event's cause one issue, or None where it is none."""
    name = event_name(type(event))
    match event:
        case HandlerFailed(telemetry_id=feed, where=where, cause=cause):
            return (name, feed, where, type(cause).__name__)
        case FeedRestarted(telemetry_id=feed, cause=cause):
            return (name, feed, type(cause).__name__)
        case FeedGaveUp(telemetry_id=feed, reason=reason):
            return (name, feed, reason.kind)
        case MessageRejected(telemetry_id=feed):
            return (name, feed)
        case _:
            return None


def failure_of(event: SentryEvent) -> tuple[str, ...] | None:
    """Return what makes a failed attempt of a worker's one issue, or None where an event is about something else.

    That is the feed, the actor, the exception, and the application's function that let it happen; a fingerprint that the
    application has given it stays.
    """
    raised = (event.get("exception") or {}).get("values") or []
    if not raised:
        return None
    last = raised[-1]
    if (last.get("mechanism") or {}).get("type") != _BY_DRAMATIQ and event.get("logger") != _BY_FRAME_ACTOR:
        return None
    if event.get("fingerprint"):
        return tuple(map(str, event["fingerprint"]))
    tags, frames = event.get("tags"), (last.get("stacktrace") or {}).get("frames") or []
    own = [frame for frame in frames if frame.get("in_app")] or frames
    where = f"{own[-1].get('module')}.{own[-1].get('function')}" if own else ""
    feed = tags.get("feed", "") if isinstance(tags, dict) else ""
    return "actor_failed", str(feed), str(event.get("transaction") or ""), str(last.get("type")), where


def _exception(event: Event) -> BaseException | None:
    match event:
        case HandlerFailed(cause=cause) | FeedRestarted(cause=cause):
            return cause
        case FeedGaveUp(reason=reason):
            return reason
        case _:
            return None


def _breadcrumb(event: Event) -> dict[str, Any]:
    level = "info" if isinstance(event, (ConnectionReady, FeedUnblocked)) else "warning"
    name = event_name(type(event))
    at = datetime.fromtimestamp(event.at, UTC)
    return {"category": "connection", "message": name, "level": level, "timestamp": at, "data": event_fields(event)}


def _mask_event(event: SentryEvent, hint: Hint) -> SentryEvent | None:
    masked: SentryEvent = _mask(event)
    return masked


def _mask_breadcrumb(crumb: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    masked: dict[str, Any] = _mask(crumb)
    return masked


def _mask(value: Any) -> Any:
    """Return the value with the secrets in any text of it masked, at any depth."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, dict):
        return {key: _mask(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mask(item) for item in value]
    return value
