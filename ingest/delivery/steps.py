"""The words between a publisher's core, which decides, and its shell, which acts: what to do, what came of it, what that changes.

The rule: values only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ingest.errors import BrokerRefused
from ingest.events import Event, GapFound


class Reply(Protocol):
    """What became of a call (`ingest.broker.line.Reply`)."""

    @property
    def status(self) -> str: ...
    @property
    def position(self) -> int | None: ...
    @property
    def queue(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def wait(self) -> float: ...
    @property
    def error(self) -> BrokerRefused | None: ...


class Joined(Protocol):
    """What a join found (`ingest.broker.line.Joined`)."""

    @property
    def position(self) -> int | None: ...
    @property
    def fenced(self) -> bool: ...
    @property
    def epoch(self) -> int | None: ...


class Watermarks(Protocol):
    """Ready messages at which enqueueing stops (``high``) and goes on (``low``)."""

    @property
    def high(self) -> int: ...
    @property
    def low(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Join:
    """Join; if Redis does not know the producer, begin at ``base``, or nowhere if that is None."""

    base: int | None


@dataclass(frozen=True, slots=True)
class Record:
    """Store the record of a gap before anything else."""

    gap: GapFound


@dataclass(frozen=True, slots=True)
class Send:
    """Send one call of at most so many messages and bytes, if there are any."""

    messages: int
    size: int


@dataclass(frozen=True, slots=True)
class Receive:
    """Read one reply; none by ``until`` means that the line is dead."""

    until: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing until then."""

    until: float


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask for the depth of a queue."""

    queue: str


@dataclass(frozen=True, slots=True)
class Reject:
    """Give up message ``seq``, the next one."""

    seq: int
    detail: str


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to do until there is something to send."""


Action = Join | Record | Send | Receive | Wait | Poll | Reject | Idle


class Effect(NamedTuple):
    """What an answer changes outside: commit up to a number, rewind, close the line, tell; another leads the feed."""

    commit: int | None = None
    rewind: bool = False
    close: bool = False
    fenced: bool = False
    events: tuple[Event, ...] = ()
