"""A feed: one connection after the other under the retry policy. The body of the thread ``feed-<name>``.

The rule: waits only on the feed's wake-up, so that a stop, a pause, returning room, and a change of who leads end every wait at
once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ingest.clock import Deadline, Monotonic, monotonic
from ingest.connection.callbacks import SessionMaker
from ingest.connection.connection import Connection
from ingest.connection.gaps import GapTracker, LastHeard
from ingest.connection.hold import Hold
from ingest.connection.ports import Dial, Lead, Sink, Wakeup
from ingest.connection.retry import (
    CREDENTIAL_STATUSES,
    FATAL_STATUSES,
    Attempt,
    ConnectionEnd,
    Decision,
    Outage,
    Policy,
    RetryFunctionFailed,
    decide,
)
from ingest.connection.session import Session
from ingest.connection.states import FINAL, State, Trigger
from ingest.connection.status import FeedStatus
from ingest.errors import EndReason, FeedCrashed, Fenced, Paused, Stopped
from ingest.events import GapFound, HandlerFailed, RetryScheduled
from settings.model import FeedSettings


class AlwaysLeads:
    """A process that leads from the start and for ever: where nobody else could."""

    def __init__(self, producer: str) -> None:
        self.tenure = 1
        self.producer = producer

    def enter(self) -> None:
        return None


def policy_of(feed: FeedSettings, maker: SessionMaker, function: Callable[[Attempt], float | None] | None = None) -> Policy:
    """Return the retry policy that a feed's settings describe."""
    retry = feed.retry
    default = FATAL_STATUSES if maker.refreshes_credentials else FATAL_STATUSES + CREDENTIAL_STATUSES
    return Policy(
        initial=retry.initial,
        max=retry.max,
        multiplier=retry.multiplier,
        jitter=retry.jitter,
        max_attempts=retry.max_attempts,
        stable_after=retry.stable_after,
        fatal_statuses=default if feed.fatal_statuses is None else feed.fatal_statuses,
        fatal_close_codes=feed.fatal_close_codes,
        function=function,
    )


class Feed:
    """Keeps one feed connected until it is stopped or has to give up."""

    def __init__(
        self,
        settings: FeedSettings,
        maker: SessionMaker,
        policy: Policy,
        sink: Sink,
        status: FeedStatus,
        *,
        dial: Dial,
        wakeup: Wakeup,
        stopping: Callable[[], bool],
        lead: Lead,
        hold: Hold | None = None,
        clock: Monotonic = monotonic,
    ) -> None:
        self.settings = settings
        self.status = status
        self._maker = maker
        self._policy = policy
        self._sink = sink
        self._dial = dial
        self._wakeup = wakeup
        self._stopping = stopping
        self._lead = lead
        self._hold = hold if hold is not None else Hold()
        self._clock = clock
        self._tenure = 0  # the one that was entered and not yet lost
        self._producer = ""
        self._outage = Outage()
        self._gaps = GapTracker(settings.label, settings.name)

    @property
    def session_class(self) -> type[Session]:
        """The class of the sessions."""
        return self._maker.session_class

    @property
    def memory(self) -> dict[str, Any]:
        """What the sessions remember of earlier connections."""
        return self._maker.memory

    @property
    def producer(self) -> str:
        """The producer of the tenure that was entered last; "" if none was."""
        return self._lead.producer

    def run(self) -> None:
        """Connect, and connect again, until stopped or given up; the final state says which."""
        self.status.pulse.beat()
        self._outage = Outage()
        while self._wait_for_turn():
            self.status.move(Trigger.DIAL)
            end = self._connect()
            if self._stopping():
                break
            if isinstance(end.reason, Fenced) or not self._leads():
                self._stand_back()
                continue
            if isinstance(end.reason, Paused | Stopped):  # stopped, though we go on: a pause cut the dial short
                self.status.pause(self._hold.by or "")
                continue
            decision = self._decide(end)
            self._outage = decision.outage
            if decision.delay is None:
                self.gave_up(end.reason)
                return
            self.status.move(Trigger.ENDED)
            self.status.note_reconnect(end.reason)
            label = self.settings.label
            self.status.publish(RetryScheduled(telemetry_id=label, attempt=decision.attempt.number, delay=decision.delay))
            self._sleep(decision.delay)
        self._tell(self._gaps.ended(self.status.wall(), "stopped"))
        self.status.move(Trigger.STOP)

    def gave_up(self, reason: EndReason) -> None:
        """End for good: there is no further attempt."""
        self._tell(self._gaps.ended(self.status.wall(), "gave up"))
        self.status.gave_up(reason)

    def crashed(self) -> None:
        """Begin anew after a fault in our own loop."""
        if self.status.state not in FINAL:
            self.status.move(Trigger.CRASHED)

    def _connect(self) -> ConnectionEnd:
        connection = Connection(
            self.settings,
            self._maker,
            self._sink,
            self.status,
            dial=self._dial,
            stopping=self._stopping,
            leads=self._leads,
            held=lambda: bool(self._hold),
            on_ready=lambda: self._tell(self._gaps.readied(self.status.wall())),
            clock=self._clock,
        )
        try:
            end = connection.run()
        except Exception as fault:
            if self.status.state is State.READY:
                self._lost(FeedCrashed(fault), blocked=connection.behind)
            raise
        if end.was_ready and not isinstance(end.reason, Stopped):
            self._lost(end.reason, blocked=connection.behind)
        return end

    def _lost(self, reason: EndReason, *, blocked: bool) -> None:
        """Note that frames are missed from now on, or rather since something came last."""
        self._gaps.lost(reason, self._heard(self.status.heard_us), blocked=blocked)
        self.status.missing_since = self._gaps.since_us

    def _heard(self, at_us: int) -> LastHeard:
        return LastHeard(at_us, self._producer, self._sink.emitted, self.status.position)

    def _tell(self, gap: GapFound | None) -> None:
        """Tell of a gap that is closed, if one was open."""
        if gap is not None:
            self.status.publish(gap)
        self.status.missing_since = self._gaps.since_us

    def _decide(self, end: ConnectionEnd) -> Decision:
        try:
            return decide(self._policy, end, self._outage, self._clock())
        except RetryFunctionFailed as error:
            self.status.publish(HandlerFailed(telemetry_id=self.settings.label, where="retry.function", cause=error))
            return decide(self._policy, end, self._outage, self._clock(), default=True)

    def _wait_for_turn(self) -> bool:
        """Wait until this process leads, no operator holds the feed, and the backlog takes frames: there is no connection before.

        False once stopped.
        """
        may_connect = False
        while not may_connect and not self._stopping():
            self.status.standby = not self._take_up()
            if self._hold:
                self._rest()
                continue
            self.status.resume()
            if self.status.standby:
                self.status.unblock()
                self._wait(None)
            elif self._sink.has_room():
                may_connect = True
            else:
                self._wait(self.status.block())
        self.status.standby = False
        self.status.unblock()
        return may_connect

    def _rest(self) -> None:
        """Have no connection until the next change; what was read goes on its way meanwhile, and the lead stays where it is."""
        self._outage = Outage()
        self.status.unblock()
        self.status.pause(self._hold.by or "")
        if not self.status.standby:
            self._tell(self._gaps.paused(self._heard(self.status.wall())))
        self._wait(None)

    def _leads(self) -> bool:
        """Tell whether the tenure that was entered goes on."""
        return self._tenure != 0 and self._lead.tenure == self._tenure

    def _take_up(self) -> bool:
        """Enter the tenure that is held now, if that is not done yet; tell whether there is one."""
        if self._tenure != 0 and not self._leads():
            self._stand_back()
        while (tenure := self._lead.tenure) not in (0, self._tenure):  # it may change while it is entered
            before = self._lead.enter()
            self._tenure, self._producer = tenure, self._lead.producer
            self.status.places.clear()
            self.status.unread_since = None
            self._gaps.entered(before)
            self.status.missing_since = self._gaps.since_us
            if before is not None and before.position is not None:
                self.status.position_text = json.dumps(before.position)
        return tenure != 0

    def _stand_back(self) -> None:
        """Leave the feed to whoever leads it now; the next tenure begins with a new retry budget."""
        self._tell(self._gaps.ended(self.status.wall(), "fenced"))
        self.status.move(Trigger.FENCED)
        self._tenure = 0
        self._outage = Outage()

    def _sleep(self, seconds: float) -> None:
        deadline = Deadline(seconds, self._clock)
        while not self._stopping() and self._leads() and not self._hold and not deadline.expired:
            self._wait(deadline.remaining())

    def _wait(self, seconds: float | None) -> None:
        self.status.pulse.rest()
        self._wakeup.wait(seconds)
        self.status.pulse.beat()
