"""The tree of values in which the whole system at one moment is told: feeds, queues, processes.

The rule: values only, all of which become JSON as they are; `ingest.tools.overview` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ingest.broker.history import FeedId, Happening, Point
from ingest.broker.refusal import Refusal
from ingest.broker.status import SILENT_AFTER

#: The state of a feed that settings name and no supervisor tells of.
ABSENT = "ABSENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A supervisor or a worker process; ``name`` is ``host:pid``.

    Attributes:
      age: seconds since its last word.
      final: it ended in order, and said so.
      gone: it has said nothing for long, and no last word either.
      started_at: in wall-clock seconds; 0 where nobody knows.
    """

    kind: str
    id: str
    name: str
    age: float
    final: bool = False
    gone: bool = False
    version: str = ""
    started_at: float = 0.0
    feeds: Sequence[str] = ()

    @property
    def alive(self) -> bool:
        return not (self.final or self.gone or self.age > SILENT_AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedView:
    """One feed of one group over all machines.

    State, reason and what waits are those of the supervisor ``told_by`` (``host:pid``): the one that leads, or else the newest
    that has not stopped. Counts are sums over all supervisors that are heard of, since each began; rates are per second, None
    until two readings are known. Lags are milliseconds (the slowest worker's).

    Attributes:
      for_seconds: how long the state has lasted; None where nobody tells.
      down_seconds: how long there has been no ready connection, over all attempts; None where there is one, or nobody tells.
      reconnects_lately: those of the last ten minutes, up to 1000.
      lead: who leads, as ``host:pid``; "" where nobody does.
      standbys, failed_on: who waits to lead, and who has given the feed up.
      name_taken_on: who runs another feed of that name than the one that leads, and reads nothing meanwhile.
      spool_troubles: what is wrong with the feed's spool now, by the supervisor that has it.
      alive: whether any supervisor that has the feed runs.
      processed, failed, lag_p50, lag_p99: go by the feed's name alone: workers do not know of groups.
      processed_lately, failed_lately: those of the last minute, of the workers that run.
    """

    group: str
    name: str
    state: str = ABSENT
    for_seconds: float | None = None
    down_seconds: float | None = None
    reconnects_lately: int = 0
    lead: str = ""
    standbys: Sequence[str] = ()
    failed_on: Sequence[str] = ()
    name_taken_on: Sequence[str] = ()
    told_by: str = ""
    alive: bool = False
    paused: bool = False
    url: str = ""
    actor: str = ""
    queue: str = ""
    last_reason: str = ""
    frames_rate: float | None = None
    bytes_rate: float | None = None
    enqueued_rate: float | None = None
    processed_rate: float | None = None
    frames: int = 0
    bytes: int = 0
    emitted: int = 0
    enqueued: int = 0
    messages: int = 0
    processed: int = 0
    failed: int = 0
    processed_lately: int = 0
    failed_lately: int = 0
    dropped: int = 0
    lost: int = 0
    reconnects: int = 0
    gaps: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)
    reconnect_reasons: Mapping[str, int] = field(default_factory=dict)
    backlog: int = 0
    backlog_bytes: int = 0
    spooled: int = 0
    spool_bytes: int = 0
    spool_troubles: Mapping[str, str] = field(default_factory=dict)
    oldest_age: float | None = None
    ping_rtt: float | None = None
    depth: int = 0
    lag_p50: float | None = None
    lag_p99: float | None = None
    points: Sequence[Point] = ()
    happenings: Sequence[Happening] = ()

    @property
    def id(self) -> FeedId:
        return self.group, self.name

    @property
    def label(self) -> str:
        """The name, with the group where there is one."""
        return f"{self.group}/{self.name}" if self.group else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """One queue: messages that wait, that wait for their time, and that were given up; ``high_watermark`` None if nobody tells.

    ``growth`` is messages per second by which the depth grew between two readings, ``died_lately`` the dead letters that came in
    the last minute. ``stalled_seconds``: for how long nobody has taken anything although something waits; 0 where somebody does.
    """

    name: str
    depth: int = 0
    delayed: int = 0
    dead: int = 0
    died_lately: int = 0
    stalled_seconds: int = 0
    high_watermark: int | None = None
    growth: float | None = None

    @property
    def full(self) -> bool:
        return self.high_watermark is not None and self.depth >= self.high_watermark


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything at one moment (``at``: wall-clock seconds of the reader), each list in order of its names.

    ``refusal`` is why Redis takes no writes, asked for only where nobody tells how it is: shown is then what was told last.
    """

    at: float
    refusal: Refusal | None = None
    feeds: Sequence[FeedView] = ()
    queues: Sequence[QueueView] = ()
    supervisors: Sequence[Process] = ()
    workers: Sequence[Process] = ()

    @property
    def everybody(self) -> Sequence[Process]:
        return [*self.supervisors, *self.workers]

    @property
    def refuses(self) -> bool:
        """Whether Redis is known to take no writes."""
        return self.refusal is not None and self.refusal.cause != "unknown"

    @property
    def empty(self) -> bool:
        """Whether nobody tells anything."""
        return not (self.supervisors or self.workers)
