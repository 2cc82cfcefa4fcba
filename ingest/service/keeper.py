"""Keeps the leases of all feeds: renews those held with one call, and tries for those that others hold. The thread ``lease``.

The rule: it never waits for anything but Redis, and for that only as long as its client's time-outs; a call that fails is made
again when it is due, because what happened meanwhile is seen by the publishers.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from threading import Event

from ingest.broker.lease import Leases
from ingest.clock import Deadline, Monotonic, monotonic
from ingest.errors import BrokerError
from ingest.measures import Pulse
from ingest.service.claim import Claim

#: Seconds between two attempts of a process that stands by.
ATTEMPT_INTERVAL = 0.25

#: A lease is renewed so many times before it would end.
RENEWALS = 3


class Keeper:
    """The leases of one supervisor."""

    def __init__(self, leases: Leases, claims: Sequence[Claim] = (), clock: Monotonic = monotonic) -> None:
        self._leases = leases
        self._claims = tuple(claims)
        self._clock = clock
        self._renew_at = 0.0
        self._woken = Event()
        self._stands_down = False
        self._ended = False
        #: Whether the thread still turns.
        self.pulse = Pulse(clock)

    def run(self) -> None:
        """Keep the leases until `stop`."""
        while not self._ended:
            self.turn()
            self._woken.wait(self._pause())
            self._woken.clear()
        self.pulse.rest()

    def wake(self) -> None:
        """Look at once: a lead was lost."""
        self._woken.set()

    def add(self, claim: Claim) -> None:
        self._claims = (*self._claims, claim)
        self._woken.set()

    def remove(self, feed: str) -> None:
        for claim in self._claims:
            if claim.feed == feed:
                claim.retire()
                claim.step_down(self._leases)
        self._claims = tuple(claim for claim in self._claims if claim.feed != feed)

    def end(self, feed: str) -> None:
        """Take that a feed reads no more."""
        for claim in self._claims:
            if claim.feed == feed:
                claim.end()

    def retire(self, feed: str) -> None:
        """Give the lead of a feed back that has given up and hands over nothing more."""
        for claim in self._claims:
            if claim.feed == feed and not claim.retired:
                claim.retire()
                self._woken.set()

    def stand_down(self) -> None:
        """Take no lead any more: a feed that is to end would not use it, and nobody would know of the gap before it."""
        self._stands_down = True
        for claim in self._claims:
            claim.end()

    def stop(self) -> None:
        """Let `run` end; the leases stay ours until `release` or their time is over."""
        self._stands_down = self._ended = True
        self._woken.set()

    def turn(self) -> None:
        """Renew what is due, and try for what is not held."""
        self.pulse.beat()
        for claim in self._claims:
            self.pulse.beat()
            self._renew_if_due()  # a hundred attempts, each with a disk's syncs, take longer than a lease
            if claim.retired and claim.leads:
                claim.step_down(self._leases)
            elif not (claim.leads or claim.retired or self._stands_down):
                claim.attempt(self._leases)

    def release(self, deadline: Deadline) -> None:
        """Give all leases back: one try each, until the deadline."""
        for claim in self._claims:
            if deadline.expired:
                return
            try:
                claim.release(self._leases)
            except BrokerError:
                return  # the others would fail as well, and each costs a time-out

    def _renew_if_due(self) -> None:
        now = self._clock()
        if now >= self._renew_at:
            self._renew_at = now + self._leases.seconds / RENEWALS
            with suppress(BrokerError):  # the publishers tell of it
                self._renew()

    def _renew(self) -> None:
        wanted = [claim for claim in self._claims if not claim.retired]
        due = [(claim, renewal) for claim in wanted if (renewal := claim.renewal()) is not None]
        if not due:
            return
        answers = self._leases.renew([renewal for _, renewal in due])
        for (claim, renewal), answer in zip(due, answers, strict=True):
            claim.renewed(renewal, answer)

    def _pause(self) -> float:
        if any(not claim.leads for claim in self._claims if not claim.retired):
            return ATTEMPT_INTERVAL
        return max(0.0, self._renew_at - self._clock())
