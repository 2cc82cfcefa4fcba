"""One feed's way to the lead: its candidate, who stands in the way, and what a change of lead means for what is held.

The rule: a candidate is written down before it asks, so that what it asked for is known after a crash; one that has led and
lost never asks again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ingest.broker.lease import Answer, Bid, Held, Renewal, Renewed, Spent, Taken, Terms
from ingest.clock import Monotonic, monotonic, wall_us
from ingest.connection.gaps import Before
from ingest.delivery.backlog import Backlog, Chain
from ingest.delivery.outage import Outage
from ingest.errors import BrokerError
from ingest.events import GapFound, LeaseReleased, LeaseTaken, Publish
from ingest.service.progress import Progress
from ingest.service.rival import Rival
from ingest.service.tenure import Tenure
from ingest.telemetry.summary import Lease
from settings.wire import new_producer


class Doubting(Protocol):
    """Who has to ask Redis anew what it holds (`ingest.delivery.publisher.Publisher`)."""

    def doubt(self) -> None: ...
    def hear(self) -> None: ...


class _Won(NamedTuple):
    """A lead that is ours and written down; ``leader`` had it before, ``before`` is what is known of that time."""

    chain: Chain
    leader: str
    before: Before | None


class Claim:
    """What the keeper does for one feed.

    Parameters:
      progress: how far this process is, for whoever comes after it.
      adopted: called when spools of dead processes were taken over, and gap records with them.
      before: the producer that this process led the feed with before, under other settings; "" if it did not.
    """

    def __init__(
        self,
        feed: str,
        label: str,
        terms: Terms,
        backlog: Backlog,
        tenure: Tenure,
        publisher: Doubting,
        *,
        progress: Progress,
        adopted: Callable[[], None] = lambda: None,
        before: str = "",
        publish: Publish,
        clock: Monotonic = monotonic,
    ) -> None:
        self.feed = feed
        self._label = label
        self._terms = terms
        self._backlog = backlog
        self._tenure = tenure
        self._publisher = publisher
        self._progress = progress
        self._adopted = adopted
        self._publish = publish
        self._clock = clock
        self._candidate = ""
        self._previous = before  # the newest producer of this process that led
        self._confirmed = 0  # of the leading producer, before the renewal under way
        self._rival = Rival(label)
        self._outage = Outage(label)
        self._failures = 0
        self._retired = False
        self._won: _Won | None = None

    @property
    def retired(self) -> bool:
        """Whether the feed wants the lead no more."""
        return self._retired

    @property
    def leads(self) -> bool:
        """Whether this process leads the feed, as far as it knows."""
        return self._tenure.leader != ""

    @property
    def leader(self) -> str:
        """The producer that leads, of this process or another's, as far as it knows; "" where none is known."""
        return self._tenure.leader or self._rival.leader

    @property
    def lease(self) -> Lease:
        """Whether this process leads, another does, or nobody that it knows of; a feed that only has its name leads it not."""
        seen = self._rival.seen
        return "leads" if self.leads else "stands_by" if seen is not None and not seen.is_other else "none"

    @property
    def is_name_taken(self) -> bool:
        """Whether another feed of the same name leads, so that this one never will while that one does."""
        seen = self._rival.seen
        return not self.leads and seen is not None and seen.is_other

    def renewal(self) -> Renewal | None:
        """Return what to renew, or to give back; None where this process does not lead."""
        chain = self._tenure.chain
        if chain is None:
            return None
        self._confirmed = chain.confirmed
        return Renewal(self.feed, chain.producer, self._progress.position(), self._progress.safe_us())

    def renewed(self, renewal: Renewal, answer: Renewed) -> None:
        """Take the answer to a renewal: a Redis that knows less than it confirmed has forgotten."""
        self._publisher.hear()
        if answer.status == "fenced":
            self._tenure.fenced(renewal.producer, answer.leader)
        elif answer.status == "gone" or (answer.seq or 0) < self._confirmed:
            self._publisher.doubt()

    @property
    def unprepared(self) -> bool:
        """Whether `prepare` has something to do; to ask costs no disk."""
        return not self._candidate or self._backlog.look()

    def prepare(self) -> None:
        """Take over what dead processes left, and write a candidate down: long before it is needed, where another leads."""
        if self._backlog.adopt():
            self._adopted()
        if not self._candidate:
            candidate = new_producer()
            self._backlog.propose(candidate)
            self._candidate = candidate

    def bid(self) -> Bid:
        """Return what to ask for; only of a claim that is prepared."""
        silent = self._rival.silent(self._clock(), self._terms.seconds)
        return Bid(self.feed, self._candidate, self._terms, silent, self._ghosts())

    def bid_against(self, answer: Answer | BrokerError) -> Bid | None:
        """Return what to ask for instead, at once, where it was refused for a leader whose spool is ours: it is dead."""
        if isinstance(answer, Held) and self._backlog.holds(answer.leader):
            return Bid(self.feed, self._candidate, self._terms, answer, self._ghosts())
        return None

    def begin(self) -> None:
        """Let the feed begin, if `answered` has just found that the lead is ours."""
        won, self._won = self._won, None
        if won is not None:
            self._tenure.granted(won.chain, won.before)
            self._publish(LeaseTaken(telemetry_id=self._label, producer=won.chain.producer, before=won.leader))

    def is_news(self, answer: Answer | BrokerError) -> bool:
        """Whether `answered` may have something to write down: the lead is ours, or another leader's than was known."""
        seen = self._rival.seen
        known = seen.leader if seen is not None else None
        return isinstance(answer, Taken) or (isinstance(answer, Held) and answer.leader != known)

    def answered(self, answer: Answer | BrokerError) -> None:
        """Take what became of the bid, and write it down; that Redis does not let us is told once, and when it does again."""
        if isinstance(answer, BrokerError):
            self._failed(answer)
            return
        self._recovered()
        match answer:
            case Taken():
                self._take_over(answer)
            case Held():
                self._wait_for(answer)
            case Spent():  # it led without our knowing: its answer was lost, and its time is over
                self._candidate = ""

    def end(self) -> None:
        """Take that the feed reads no more."""
        self._progress.end()

    def retire(self) -> None:
        """Take that the feed has given up and hands over nothing more: another process may do better."""
        self._retired = True

    def released(self, renewal: Renewal) -> None:
        """Take that the lead was given back, so that another need not wait for the lease to end."""
        self._publish(LeaseReleased(telemetry_id=self._label, producer=renewal.producer))

    def resigned(self) -> None:
        """Take that the feed has none any more, and goes on without."""
        chain = self._tenure.chain
        if chain is not None:
            self._tenure.resigned(chain.producer)

    def _ghosts(self) -> list[str]:
        """Return the candidates of dead processes: what a bid of theirs did, without their knowing, must overtake nobody."""
        return [each for each in self._backlog.candidates if each != self._candidate]

    def _wait_for(self, held: Held) -> None:
        now = self._clock()
        if self._rival.see(held, now):
            self._backlog.fence()  # whoever leads has taken over from those whose messages we hold
        told = self._rival.due(held, now)
        if told is not None:
            self._publish(told)

    def _take_over(self, taken: Taken) -> None:
        """Judge what is held by who led before, then begin a chain of our own; `begin` lets the feed have it.

        Who gives a lead back has given its spool back just before: since we have looked, perhaps.
        """
        if self._backlog.adopt():
            self._adopted()
        ours = self._ours()
        if taken.before:
            self._backlog.judge(taken.before)
        else:
            self._tell_forgotten()
        candidate, self._candidate, self._previous = self._candidate, "", self._candidate
        self._rival.gone()
        chain = self._backlog.open(candidate, taken.epoch)
        self._won = _Won(chain, taken.before, self._before(taken, ours))

    def _ours(self) -> str:
        """Return the newest producer of which we know that it led, of this process or of those whose spools it has."""
        newest = self._backlog.newest
        return self._previous or (newest.id if newest is not None else "")

    def _before(self, taken: Taken, ours: str) -> Before | None:
        """Return what is known of the time before: from when on, and after which message, frames may be missing."""
        if not taken.before:
            return None
        newest = self._backlog.newest
        kept = newest is not None and newest.id == taken.before and newest.messages and newest.first <= taken.last_seq + 1
        return Before(
            cause="restart" if taken.before == ours else "failover",
            producer=taken.before,
            # Where the disk goes on where Redis ends, nothing was in memory alone.
            last_seq=newest.last if kept and newest is not None else taken.last_seq,
            position=_value(taken.position),
            from_us=_past(taken.safe_us or taken.seen_us, taken.seen_us),
        )

    def _tell_forgotten(self) -> None:
        """Nobody has ever led, says Redis; we know better: a spool tells of a leader, we have seen one, or were one.

        Of a producer of which messages are held, it is told when that is attached.
        """
        newest = self._backlog.newest
        if newest is not None and newest.messages:
            return
        producer = self._previous or (newest.id if newest is not None else "") or self._rival.leader
        if not producer:
            return
        self._publish(
            GapFound(
                telemetry_id=self._label,
                feed=self.feed,
                cause="forgotten",
                from_us=0,
                to_us=wall_us(),
                producer=producer,
                last_seq=0,
                detail="Redis knows of no leader, and there has been one: what waited in the queue is gone",
            )
        )

    def _failed(self, error: BrokerError) -> None:
        self._failures += 1
        for event in self._outage.failed(error, self._failures, self._clock()):
            self._publish(event)

    def _recovered(self) -> None:
        self._failures = 0
        for event in self._outage.ended(self._clock()):
            self._publish(event)


def _past(since_us: int, seen_us: int) -> int:
    """Return since when frames may be missing: of a leader whose clock was ahead of ours, since it was seen."""
    now_us = wall_us()
    return since_us if 0 < since_us <= now_us else min(seen_us or now_us, now_us)


def _value(position: str) -> Any:
    try:
        return json.loads(position) if position else None
    except ValueError:
        return None
