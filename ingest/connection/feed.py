"""A feed: one connection after the other under the retry policy. The body of the thread ``feed-<name>``.

The rule: waits only on the feed's wake-up, so that a stop or returning room ends every wait at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ingest.clock import Deadline, Monotonic, monotonic
from ingest.connection.callbacks import SessionMaker
from ingest.connection.connection import Connection, Dial, Sink
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
from ingest.connection.states import FINAL, Trigger
from ingest.connection.status import FeedStatus
from ingest.events import HandlerFailed, RetryScheduled
from settings.model import FeedSettings


class Wakeup(Protocol):
    """What interrupts a feed's waits."""

    def wait(self, timeout: float | None) -> bool:
        """Wait until set or ``timeout`` seconds passed, and clear; tell whether it was set."""


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
        self._clock = clock

    def run(self) -> None:
        """Connect, and connect again, until stopped or given up; the final state says which."""
        outage = Outage()
        while self._wait_for_room():
            self.status.move(Trigger.DIAL)
            end = self._connect()
            if self._stopping():
                break
            decision = self._decide(end, outage)
            outage = decision.outage
            if decision.delay is None:
                self.status.gave_up(end.reason)
                return
            self.status.move(Trigger.ENDED)
            self.status.reconnects += 1
            label = self.settings.label
            self.status.publish(RetryScheduled(telemetry_id=label, attempt=decision.attempt.number, delay=decision.delay))
            self._sleep(decision.delay)
        self.status.move(Trigger.STOP)

    def crashed(self) -> None:
        """Begin anew after a fault in our own loop."""
        if self.status.state not in FINAL:
            self.status.move(Trigger.CRASHED)

    def _connect(self) -> ConnectionEnd:
        return Connection(
            self.settings,
            self._maker,
            self._sink,
            self.status,
            dial=self._dial,
            stopping=self._stopping,
            clock=self._clock,
        ).run()

    def _decide(self, end: ConnectionEnd, outage: Outage) -> Decision:
        try:
            return decide(self._policy, end, outage, self._clock())
        except RetryFunctionFailed as error:
            self.status.publish(HandlerFailed(telemetry_id=self.settings.label, where="retry.function", cause=error))
            return decide(self._policy, end, outage, self._clock(), default=True)

    def _wait_for_room(self) -> bool:
        """Wait until the backlog takes frames again: there is no reconnect before. False once stopped."""
        while not self._stopping():
            if self._sink.has_room():
                self.status.unblock()
                return True
            self._wakeup.wait(self.status.block())
        self.status.unblock()
        return False

    def _sleep(self, seconds: float) -> None:
        deadline = Deadline(seconds, self._clock)
        while not self._stopping() and not deadline.expired:
            self._wakeup.wait(deadline.remaining())
