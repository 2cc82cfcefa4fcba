"""One feed at work: its reading thread, its publishing thread, and the numbers of both.

The rule: a crash in either is borne within a limit and never reaches another feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event, Thread
from typing import Any, NamedTuple

from ingest.clock import Deadline
from ingest.connection.calls import Call
from ingest.connection.feed import Feed
from ingest.connection.hold import Hold
from ingest.connection.session import Session
from ingest.connection.states import FINAL, State
from ingest.connection.wakeup import Wakeup
from ingest.delivery.backlog import Backlog, Saved
from ingest.delivery.intake import Intake
from ingest.delivery.losses import Losses
from ingest.delivery.publisher import Publisher
from ingest.errors import FeedCrashed
from ingest.events import CallbackReturned, CallbackSlow, FeedDrained, FeedGaveUp, FeedRestarted, Publish
from ingest.service.numbers import FeedReadings
from ingest.service.threads import run_restarting, start
from ingest.telemetry.metrics import FeedFigures
from ingest.telemetry.summary import FeedNumbers

#: Seconds without a turn after which a thread counts as stuck; the one that reads may be in a callback of the user's, and has
#: ``open_timeout`` besides, and the one that publishes sleeps for up to a minute.
READING_SILENT = 60.0
PUBLISHING_SILENT = 120.0


class Kept(NamedTuple):
    """What one feed leaves to its next life: its sessions' class and what they remembered, and its newest producer."""

    session_class: type[Session]
    memory: dict[str, Any]
    producer: str


class FeedRunner:
    """Starts, watches and stops the two threads of one feed."""

    def __init__(
        self,
        feed: Feed,
        intake: Intake,
        backlog: Backlog,
        losses: Losses,
        publisher: Publisher,
        readings: FeedReadings,
        wakeup: Wakeup,
        stop: Event,
        hold: Hold,
    ) -> None:
        self.settings = feed.settings
        self._feed = feed
        self._intake = intake
        self._backlog = backlog
        self._losses = losses
        self._publisher = publisher
        self._readings = readings
        self._wakeup = wakeup
        self._stop = stop
        self._hold = hold
        self._publish: Publish = feed.status.publish
        self._slow: list[Call] = []  # the calls of the user's code that are told to take their time
        self._saved = Saved(0, 0)
        self._undeliverable = False  # the publishing thread has crashed once too often
        self._threads: dict[str, Thread] = {}

    @property
    def ended(self) -> bool:
        """Whether the feed reads no more, by its own decision or because it was stopped."""
        return self._feed.status.state in FINAL

    @property
    def failed(self) -> bool:
        return self._undeliverable or self._feed.status.state is State.FAILED

    @property
    def lost(self) -> int:
        """Emitted payloads that could neither be handed over before the end nor be kept for the next start."""
        return self._losses.counts["lost"]

    @property
    def is_through(self) -> bool:
        """Whether the feed has given up, and all that it read is handed over, or nothing ever will be."""
        return self.failed and self.ended and (self._undeliverable or len(self._backlog) == 0)

    @property
    def spooled(self) -> int:
        """Emitted payloads that are kept for the next start."""
        return self._saved.spooled

    def start(self) -> None:
        name = self.settings.name
        self._threads["feed"] = start(f"feed-{name}", self._read)
        self._threads["publish"] = start(f"publish-{name}", self._deliver)

    def hold(self, by: str | None) -> None:
        """Have the feed close its connection and make no other, as ``by`` wants it, or with None let it go on."""
        self._hold.set(by)

    def stop_reading(self) -> None:
        """Ask the feed to close its connection and end."""
        self._stop.set()
        self._wakeup.set()

    def reading_ended(self) -> bool:
        """Tell whether the feed's thread is over; one that hangs in the user's code never is, and is left behind."""
        return not self._threads["feed"].is_alive()

    def drain(self, deadline: Deadline) -> None:
        """Take nothing more, hand over what waits until the deadline, and end."""
        self._intake.close()  # what a callback that hangs returns later has no place any more
        self._publisher.drain(deadline)

    def publishing_ended(self) -> bool:
        """Tell whether the publishing thread is over; one that hangs in the user's code is left behind."""
        thread, status = self._threads["publish"], self._feed.status
        call = status.hooks.on(thread.ident)
        hangs = call is not None and status.clock() - call.since > self.settings.open_timeout
        return hangs or not thread.is_alive()

    def finish(self) -> None:
        """Keep what could not be handed over for the next start, count the rest as lost, and tell the sum."""
        self._publisher.stop()  # it may have been left behind
        spool = self.settings.spool
        self._saved = self._backlog.save(keeps=spool is None or spool.persistent)
        numbers = self.numbers()
        self._publish(
            FeedDrained(
                telemetry_id=self.settings.label,
                read=numbers.frames,
                emitted=numbers.emitted,
                enqueued=numbers.enqueued,
                spooled=self._saved.spooled,
                lost=numbers.lost,
            )
        )

    def take_gaps(self) -> list[bytes]:
        """Return the gap records that an earlier process could not bring to Redis."""
        return self._backlog.take_gaps()

    def close(self, gaps: Sequence[bytes]) -> bool:
        """Keep these gap records, and give the spool back; False if there are some and they are lost."""
        saved = self._backlog.save_gaps(gaps)
        self._backlog.close()
        return saved or not gaps

    def hear(self) -> None:
        """Take that Redis has just answered somebody else."""
        self._publisher.hear()

    def kept(self) -> Kept:
        """Return what the feed leaves to its next life."""
        return Kept(self._feed.session_class, self._feed.memory, self._feed.producer)

    def check_callback(self) -> None:
        """Tell once of every call of the user's code that runs longer than ``open_timeout``, and when it is over."""
        status = self._feed.status
        slow = status.slow(self.settings.open_timeout)
        for call in self._slow:
            if call not in slow:
                self._publish(
                    CallbackReturned(telemetry_id=self.settings.label, where=call.where, seconds=status.clock() - call.since)
                )
        for call in slow:
            if call not in self._slow:
                self._publish(
                    CallbackSlow(telemetry_id=self.settings.label, where=call.where, seconds=status.clock() - call.since)
                )
        self._slow = slow

    def numbers(self) -> FeedNumbers:
        """Return the feed's totals and state, for summaries, status and metrics."""
        return self._readings.read()

    def figures(self) -> FeedFigures:
        """Return the same with what is measured, for metrics."""
        return self._readings.figures()

    def silence(self) -> str | None:
        """Return which of the feed's threads does not turn any more, and for how long; None while both do.

        One that has ended, in order or because it crashed too often, is not silent: the feed's state says so.
        """
        reading, publishing = self._feed.status.pulse.silent_for, self._publisher.pulse.silent_for
        if reading > self.settings.open_timeout + READING_SILENT:
            running = self._feed.status.running
            inside = f", in {running[0]}" if running is not None else ""
            return f"the reading thread has not turned for {reading:.0f} s{inside}"
        if publishing > PUBLISHING_SILENT:
            return f"the publishing thread has not turned for {publishing:.0f} s"
        return None

    def _read(self) -> None:
        run_restarting(self._feed.run, self._reading_crashed, self._stop)
        self._feed.status.pulse.rest()

    def _reading_crashed(self, cause: BaseException, delay: float | None) -> None:
        self._feed.crashed()
        self._tell_crash(cause, delay)
        if delay is None:
            self._feed.gave_up(FeedCrashed(cause))

    def _deliver(self) -> None:
        run_restarting(self._publisher.run, self._delivery_crashed, self._stop)

    def _delivery_crashed(self, cause: BaseException, delay: float | None) -> None:
        self._publisher.crashed()
        self._tell_crash(cause, delay)
        if delay is None:
            self._undeliverable = True
            self.stop_reading()
            self._publish(FeedGaveUp(telemetry_id=self.settings.label, reason=FeedCrashed(cause)))

    def _tell_crash(self, cause: BaseException, delay: float | None) -> None:
        self._publish(FeedRestarted(telemetry_id=self.settings.label, cause=cause, delay=delay))
