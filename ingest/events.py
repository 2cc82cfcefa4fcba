"""What happened, as facts: one frozen dataclass per kind of event.

The rule: events hold values only; who is told, and how, is telemetry's business. Every event carries the
feed's ``telemetry_id`` and ``at``, wall-clock seconds since the epoch. Each counts 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ingest.errors import EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events share."""

    telemetry_id: str
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened(Event):
    """The server has upgraded the connection, ``seconds`` after the dial began; the bootstrap comes next."""

    url: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSent(Event):
    """The ``frames`` that `on_upgrade` returned are on their way."""

    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionReady(Event):
    """Success: the bootstrap is sent, and confirmed where the session awaits that."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFailed(Event):
    """Failure: an attempt ended before the connection was ready."""

    reason: EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLost(Event):
    """Disconnected: a ready connection ended after ``lasted`` seconds."""

    reason: EndReason
    lasted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTimedOut(Event):
    """Timeout: a deadline passed; ``which`` is the setting that named it (``idle_timeout``, …)."""

    which: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatus(Event):
    """Status: 1 when the connection becomes ready, 0 when it no longer is; on every change."""

    value: Literal[0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Event):
    """The feed went from one state to another (names of `ingest.connection.states.State`)."""

    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(Event):
    """The next attempt comes after ``delay`` seconds; ``attempt`` counts the failures of this outage."""

    attempt: int
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedGaveUp(Event):
    """The feed will not be tried again."""

    reason: EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRestarted(Event):
    """A fault of ours ended one of the feed's threads; it starts again after ``delay`` seconds (None: it was one too many)."""

    cause: BaseException
    delay: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerFailed(Event):
    """The user's code raised; ``where`` is the callback's name.

    ``frame`` is the beginning of what it was called with, if that was a frame; no log shows it.
    """

    where: str
    cause: BaseException
    frame: str | bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSlow(Event):
    """A callback or a hook of the user's (``where``) has been running for ``seconds``, longer than ``open_timeout``."""

    where: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackReturned(Event):
    """A callback of which `CallbackSlow` was told is over, after about ``seconds``."""

    where: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedBlocked(Event):
    """The backlog is full and ``overflow`` is "block": reading stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedUnblocked(Event):
    """There is room again after ``seconds``: reading goes on."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPaused(Event):
    """An operator (``by``) paused the feed: it has no connection, and makes none before it is resumed."""

    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedResumed(Event):
    """The feed goes on, after a pause of ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUnavailable(Event):
    """Redis refuses or does not answer; what is read waits in the backlog."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRecovered(Event):
    """Redis takes messages again after ``seconds``."""

    seconds: float


#: Why a payload that had its number is given up.
DropReason = Literal["drop_oldest", "drop_newest", "fenced", "rejected", "vetoed", "unencodable", "damaged", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DropsBegan(Event):
    """Payloads are being given up, from number ``first_seq`` on; `FramesDropped` will tell how many."""

    reason: DropReason
    producer: str
    first_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesDropped(Event):
    """``count`` payloads with numbers from ``first_seq`` to ``last_seq`` were given up: an episode that is over."""

    reason: DropReason
    producer: str
    count: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolingBegan(Event):
    """Memory is full: what is read goes to the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolingEnded(Event):
    """All that was on the disk has gone on: what is read stays in memory again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolTrouble(Event):
    """The disk refused, or a spool file was damaged and set aside; ``detail`` says which file and where it is now."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTaken(Event):
    """This process leads the feed; ``before`` led last ("" if nobody did)."""

    producer: str
    before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseReleased(Event):
    """This process has given the lead of the feed back: at its end, or because the feed gave up."""

    producer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLost(Event):
    """Another process leads the feed (``leader``); this one stands by, and ``held`` messages of it are late."""

    leader: str
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingBy(Event):
    """Another process leads the feed; this one has waited for ``seconds`` to take over. Told once a minute."""

    leader: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedNameTaken(Event):
    """A feed of the same name that reads something else leads; ``detail`` says what to do."""

    leader: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueForgotten(Event):
    """Redis forgot what it had confirmed: messages up to number ``confirmed`` may be gone; it held ``held``."""

    queue: str
    confirmed: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRejected(Event):
    """One message was given up: Redis or an encoder refused it, or a middleware did not let it pass.

    ``seq`` is the number of its payload, or of its first.
    """

    seq: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStalled(Event):
    """A queue grew to ``depth`` over ``seconds`` and nothing was taken from it."""

    queue: str
    depth: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettersGrew(Event):
    """A queue's dead letters grew by ``added`` to ``total``."""

    queue: str
    added: int
    total: int


#: Why frames may be missing.
GapCause = Literal[
    "disconnected",  # the connection was away
    "blocked",  # the server cut us while we did not read, because workers were too slow
    "paused",  # an operator paused the feed
    "failover",  # another supervisor led before
    "restart",  # this supervisor was not running
    "dropped",  # the overflow policy dropped frames
    "forgotten",  # Redis forgot what it had confirmed
    "fenced",  # read by a supervisor that no longer led, and dropped
    "rejected",  # Redis refused the message again and again
    "damaged",  # a spool file could not be read
    "lost",  # the process ended before it could hand over what it had read
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GapFound(Event):
    """Frames may have been missed, or were dropped, between ``from_us`` and ``to_us`` (wall-clock microseconds).

    ``last_seq`` is the number of the last message of ``producer`` before the gap, ``position`` what the session's `position()`
    said with it; ``count`` is how many payloads are known to be lost, None where nobody can know.
    """

    feed: str
    cause: GapCause
    from_us: int
    to_us: int
    producer: str
    last_seq: int
    position: Any = None
    count: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedDrained(Event):
    """The feed has stopped: frames read; payloads emitted, enqueued, left in the spool and lost since the process started."""

    read: int
    emitted: int
    enqueued: int
    spooled: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkFailed(Event):
    """A receiver of events raised; told once per receiver, counted after that."""

    sink: str
    cause: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOverloaded(Event):
    """A receiver of events is too slow: events are dropped for it alone; told once, counted after that."""

    sink: str


#: How every part tells what happened; never raises, never blocks.
Publish = Callable[[Event], None]
