"""Keeps the leases of all feeds: renews those held with one call, and tries for those that others hold. The thread ``lease``.

The rule: it never waits for anything but Redis and disks, and for Redis only as long as its client's time-outs; a call that
fails is made again when it is due, because what happened meanwhile is seen by the publishers. However many feeds there are, a
turn costs a few calls, and what a disk has to do for one feed does not wait for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import compress
from threading import Event, Lock
from typing import TypeVar

from ingest.broker.lease import Answer, Bid, Leases, Renewal
from ingest.clock import Deadline, Monotonic, monotonic
from ingest.errors import BrokerError, BrokerRefused
from ingest.measures import Pulse
from ingest.service.claim import Claim
from ingest.service.threads import in_parallel

T = TypeVar("T")

#: Seconds between two attempts of a process that stands by.
ATTEMPT_INTERVAL = 0.25

#: A lease is renewed so many times before it would end.
RENEWALS = 3

#: So many leases are taken or given back by one call: Redis serves nobody else meanwhile.
AT_ONCE = 100


class Keeper:
    """The leases of one supervisor. `run` and `turn` are its own thread's; all else may be called from any."""

    def __init__(self, leases: Leases, claims: Sequence[Claim] = (), clock: Monotonic = monotonic) -> None:
        self._leases = leases
        self._claims = tuple(claims)
        self._clock = clock
        self._renew_at = 0.0
        self._woken = Event()
        self._turning = Lock()  # whoever gives leases back does not do so while they are taken
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
        """Try for one more feed's lead, from now on."""
        with self._turning:
            self._claims = (*self._claims, claim)
        self._woken.set()

    def remove(self, feed: str, close: Callable[[], object] = lambda: None) -> None:
        """Give the lead of a feed back, one try, and leave it to others; when this returns it is renewed and tried for no more.

        What it read must be handed over or on disk by then. ``close`` gives its spool back before that, for whoever leads next
        (`ingest.service.supervisor` says in which order).
        """
        with self._turning:
            leaving = [claim for claim in self._claims if claim.feed == feed]
            self._claims = tuple(claim for claim in self._claims if claim.feed != feed)
            for claim in leaving:
                claim.retire()
        close()
        with self._turning:
            self._step_down(leaving)

    def end(self, feed: str) -> None:
        """Take that a feed reads no more, though what it read is still handed over under its lease."""
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
        with self._turning:
            self._renew_if_due()
            self._step_down([claim for claim in self._claims if claim.retired])
            for some in _cut([claim for claim in self._claims if not (claim.leads or claim.retired)]):
                self._try_for(some)

    def release(self, deadline: Deadline) -> None:
        """Give all leases back: one try each, until the deadline."""
        turning = self._turning.acquire(timeout=deadline.remaining() / 2)  # a disk that hangs must not cost those of all others
        try:
            for some in _cut(_held(self._claims)):
                if deadline.expired:
                    return
                self._release(some)
        except BrokerError:
            return  # the others would fail as well, and each costs a time-out
        finally:
            if turning:
                self._turning.release()

    # With the lock held.

    def _try_for(self, claims: Sequence[Claim]) -> None:
        """Write down what has to be known of whoever asks, ask for all, and act on each answer."""
        if not self._stands_down:
            self._on_disk(Claim.prepare, [claim for claim in claims if claim.unprepared])
        if self._stands_down:  # by now, perhaps: disks take their time
            return
        self._renew_if_due()
        answered = list(zip(claims, self._ask(claims), strict=True))
        news = [claim.is_news(answer) for claim, answer in answered]
        for (claim, answer), is_news in zip(answered, news, strict=True):
            if not is_news:
                claim.answered(answer)
        try:
            self._on_disk(_answer, list(compress(answered, news)))
        finally:
            for claim in claims:  # only now: feeds that begin take the time of those whose lead is yet to be written down
                claim.begin()

    def _ask(self, claims: Sequence[Claim]) -> list[Answer | BrokerError]:
        """Bid for all in one call, and in one more for those whose leader is found to be dead."""
        answers = self._take([claim.bid() for claim in claims])
        again = {at: bid for at, claim in enumerate(claims) if (bid := claim.bid_against(answers[at])) is not None}
        for at, answer in zip(again, self._take(list(again.values())), strict=True):
            answers[at] = answer
        return answers

    def _take(self, bids: Sequence[Bid]) -> list[Answer | BrokerError]:
        if not bids:
            return []
        try:
            return [*self._leases.take(bids)]
        except BrokerError as error:
            if len(bids) == 1 or not (isinstance(error, BrokerRefused) and error.code == "NOPERM"):
                return [error] * len(bids)
        half = len(bids) // 2  # one key that we may not touch, and Redis refuses the whole call
        return [*self._take(bids[:half]), *self._take(bids[half:])]

    def _step_down(self, claims: Sequence[Claim]) -> None:
        """Give the leads of some feeds back; what fails ends by itself, since it is renewed no more."""
        with suppress(BrokerError):
            for some in _cut(_held(claims)):
                for claim in self._release(some):
                    claim.resigned()

    def _release(self, some: Sequence[tuple[Claim, Renewal]]) -> list[Claim]:
        """Give leads back in one call; return whose were given back."""
        released = []
        for (claim, renewal), answer in zip(some, self._leases.release([each for _, each in some]), strict=True):
            if not isinstance(answer, BrokerError):
                if answer:  # else somebody has taken it already, who found our spool
                    claim.released(renewal)
                released.append(claim)
        return released

    def _on_disk(self, act: Callable[[T], None], items: Sequence[T]) -> None:
        """Do for each what may have to wait for a disk; a hundred of them take longer than a lease."""
        in_parallel(act, items, self._renew_if_due)

    def _renew_if_due(self) -> float:
        """Renew what is held, if it is time to; return the seconds until it is."""
        self.pulse.beat()
        now = self._clock()
        if now >= self._renew_at:
            self._renew_at = now + self._leases.seconds / RENEWALS
            with suppress(BrokerError):  # the publishers tell of it
                self._renew()
        return max(0.0, self._renew_at - self._clock())

    def _renew(self) -> None:
        due = _held([claim for claim in self._claims if not claim.retired])
        if not due:
            return
        answers = self._leases.renew([renewal for _, renewal in due])
        for (claim, renewal), answer in zip(due, answers, strict=True):
            claim.renewed(renewal, answer)

    def _pause(self) -> float:
        if any(not claim.leads for claim in self._claims if not claim.retired):
            return ATTEMPT_INTERVAL
        return max(0.0, self._renew_at - self._clock())


def _answer(answered: tuple[Claim, Answer | BrokerError]) -> None:
    claim, answer = answered
    claim.answered(answer)


def _held(claims: Sequence[Claim]) -> list[tuple[Claim, Renewal]]:
    return [(claim, renewal) for claim in claims if (renewal := claim.renewal()) is not None]


def _cut(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[at : at + AT_ONCE] for at in range(0, len(items), AT_ONCE))
