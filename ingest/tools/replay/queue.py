"""A record into a queue: its frames through the feed's session, what that emits through the feed's own delivery.

The rule: connection, backlog and publisher are those of the supervisor; only the socket, the clock of receipt and the lead are
the replay's. It leads nothing: its messages have a producer and a position of their own, so a supervisor is not disturbed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event as Flag
from threading import Thread

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.gaps import record_arguments
from ingest.broker.hooks import message_encoder
from ingest.clock import Deadline, wall_us
from ingest.connection.callbacks import SessionMaker
from ingest.connection.connection import Connection
from ingest.connection.session import Session, To
from ingest.connection.states import Trigger
from ingest.connection.status import FeedStatus
from ingest.connection.wakeup import Wakeup
from ingest.delivery.backlog import Backlog, Bounds
from ingest.delivery.batch_intake import BatchIntake
from ingest.delivery.core import Pace, PublisherCore
from ingest.delivery.feed_intake import intake_of
from ingest.delivery.intake import Intake
from ingest.delivery.losses import Losses
from ingest.delivery.publisher import Publisher
from ingest.errors import BootstrapFailed, EndReason, FrameHandlerFailed
from ingest.events import (
    BrokerRecovered,
    BrokerUnavailable,
    Event,
    FramesDropped,
    HandlerFailed,
    MessageRejected,
    QueueForgotten,
)
from ingest.records.reading import RecordReader
from ingest.telemetry.log import LogSink
from ingest.tools.replay.source import Pacer, ReplayTransport, Source
from settings.model import FeedSettings
from settings.wire import MAX_SEQ, new_producer

#: What of a feed's events is about the queue; those of its connections tell of the record, not of now.
_TOLD = (BrokerUnavailable, BrokerRecovered, QueueForgotten, MessageRejected, FramesDropped, HandlerFailed)

#: The user's code has failed: what was recorded was not all handled.
_FAILURES = (BootstrapFailed, FrameHandlerFailed)

#: What waits for the network has no meaning here.
_QUIET = {"ping_interval": 0, "idle_timeout": None, "data_timeout": None, "ready_timeout": 1e9, "heartbeat": None}


@dataclass(frozen=True, slots=True)
class QueueReplay:
    """What to replay: an open record, through a feed's session, into its queue.

    ``group`` is the supervisors', for records of gaps. ``speed``: recorded seconds in one (None: at once). ``first``: the data
    frame to begin with. ``now``: say that the frames were received now.
    """

    record: RecordReader
    feed: FeedSettings
    session_class: type[Session]
    broker: RateLimitedBroker
    group: str
    speed: float | None = 1.0
    first: int = 1
    now: bool = False


@dataclass(frozen=True, slots=True)
class Numbers:
    """How far a replay is: data frames of the record, payloads, connections; ``waits``: there is no room in the queue."""

    frames: int
    skipped: int
    enqueued: int
    dropped: int
    held: int
    connections: int
    waits: bool


class _Nobody:
    """Who leads: nobody, since what comes late needs no lead."""

    leader = ""

    def fenced(self, producer: str) -> None:
        """Nothing was led."""


class Running:
    """A replay at work in two threads; `BrokerError` where Redis does not take its producer."""

    def __init__(self, replay: QueueReplay) -> None:
        feed, broker = replay.feed, replay.broker
        self._feed = feed
        self._record = replay.record
        self._stop = Flag()
        self._wakeup = Wakeup()
        self._source = Source(replay.record, Pacer(replay.speed), replay.first)
        started_us = replay.record.header.started_us
        wall = wall_us if replay.now else lambda: started_us + self._source.at_us
        self._log = LogSink()
        self._status = FeedStatus(feed.label, self._publish, wall=wall)
        self._losses = Losses(feed.name, feed.label, self._publish)
        bounds = Bounds(feed.backlog.messages, feed.backlog.bytes, "block", False)
        self._backlog = Backlog(bounds, self._losses, on_room=self._wakeup.set)
        hooks = broker.enqueue_hooks()
        self._intake = intake_of(
            feed, self._backlog, encoder=message_encoder(), routed=To, publish=self._publish, before=hooks.before
        )
        producer = new_producer()
        self._intake.enter(self._backlog.open(producer, 0))
        self._backlog.fence()  # what is late is sent without a lease
        gap_arguments = partial(record_arguments, broker.keys, replay.group)
        line = broker.line(feed.name, f"replay.{producer}", gap_arguments=gap_arguments)
        line.join(producer, 0)
        line.rest()
        core = PublisherCore(feed=feed.name, label=feed.label, queue=feed.queue, watermarks=broker.limits, pace=Pace())
        self._publisher = Publisher(
            self._backlog,
            line,
            core,
            _Nobody(),
            publish=self._publish,
            mark_late=_as_it_is,
            after=hooks.after,
            flush=self._intake.flush_due if isinstance(self._intake, BatchIntake) else None,
        )
        self._sink = _Sink(self._intake, self._source)
        # Asked for neither URL nor headers nor subscriptions: those may reach out, and nobody would hear them.
        offline = type(replay.session_class.__name__, (replay.session_class,), {"url": _url_of, "headers": _no_headers})
        self._maker = SessionMaker(feed, offline)
        self._marks: deque[tuple[int, int]] = deque([(0, 0)])
        self._connections = 0
        #: The newest failure of the user's code; None if there was none.
        self.failed: EndReason | None = None
        self.crash: BaseException | None = None
        #: Why connections ended, and how often.
        self.ends: Counter[str] = Counter()
        self._reader = Thread(target=self._guarded, args=(self._read,), name=f"replay-{feed.name}", daemon=True)
        self._sender = Thread(target=self._guarded, args=(self._publisher.run,), name=f"publish-{feed.name}", daemon=True)

    def start(self) -> None:
        self._reader.start()
        self._sender.start()

    @property
    def reading(self) -> bool:
        return self._reader.is_alive()

    @property
    def publishing(self) -> bool:
        return self._sender.is_alive()

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        self._wakeup.set()

    def drain(self, deadline: Deadline) -> None:
        """Hand over what was read, until the deadline."""
        self._intake.close()
        self._publisher.drain(deadline)

    def numbers(self) -> Numbers:
        return Numbers(
            frames=self._source.given,
            skipped=self._source.skipped,
            enqueued=self._publisher.enqueued,
            dropped=self._losses.total,
            held=len(self._backlog),
            connections=self._connections,
            waits=self._status.blocked,
        )

    def resume_at(self) -> tuple[int, int]:
        """Return the data frame with which another replay would go on, and how many payloads would then come again.

        Frames of one recorded read go on together. Only once both threads are over.
        """
        if len(self._backlog) == 0:
            return self._source.given + 1, 0
        self._forget_marks()
        emitted, given = self._marks[0]
        return given + 1, max(0, self._publisher.confirmed - emitted)

    def _guarded(self, body: Callable[[], None]) -> None:
        try:
            body()
        except Exception as fault:  # noqa: BLE001 - told by who waits for the thread
            self.crash = fault
            self.stop()

    def _read(self) -> None:
        while not self._stop.is_set() and self._source.next_connection():
            self._connections += 1
            self._status.move(Trigger.DIAL)
            end = Connection(
                self._feed.model_copy(update=_QUIET),
                self._maker,
                self._sink,
                self._status,
                dial=self._dial,
                stopping=self._stop.is_set,
            ).run()
            self._mark()
            self._status.move(Trigger.ENDED)
            self.ends[end.reason.kind] += 1
            if isinstance(end.reason, _FAILURES):
                self.failed = end.reason

    def _dial(self, url: str, headers: Mapping[str, str]) -> ReplayTransport:
        return ReplayTransport(self._source, self._wakeup, self._mark)

    def _mark(self) -> None:
        """Note that all that was given so far has been handled, and is in the backlog."""
        self._marks.append((self._intake.emitted, self._source.given))
        self._forget_marks()

    def _forget_marks(self) -> None:
        confirmed = self._publisher.confirmed
        while len(self._marks) > 1 and self._marks[1][0] <= confirmed:
            self._marks.popleft()

    def _publish(self, event: Event) -> None:
        if isinstance(event, _TOLD):
            self._log.handle(event)


class _Sink:
    """The intake, for a connection that is replayed: what comes before the beginning is left out, and no ack is waited for."""

    def __init__(self, intake: Intake, source: Source) -> None:
        self._intake = intake
        self._source = source

    @property
    def emitted(self) -> int:
        return self._intake.emitted

    @property
    def settled(self) -> int:
        return MAX_SEQ

    @property
    def dropped(self) -> int | None:
        return None

    def begin(self) -> None:
        self._intake.begin()

    def notify_at(self, seq: int | None) -> None:
        """Nobody waits."""

    def deliver(self, payloads: Sequence[object], received_us: int) -> None:
        if not self._source.is_muted():
            self._intake.deliver(payloads, received_us)

    def flush(self) -> None:
        self._intake.flush()

    def has_room(self) -> bool:
        return self._intake.has_room()


def _as_it_is(data: bytes) -> bytes:
    return data


def _url_of(session: Session) -> str:
    return session.feed.url


def _no_headers(session: Session) -> Mapping[str, str]:
    return {}
