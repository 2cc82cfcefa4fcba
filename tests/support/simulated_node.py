"""One supervisor's delivery of one feed, in one thread and simulated time: it is started, killed and stopped by a walk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.hooks import message_encoder
from ingest.broker.lease import Terms
from ingest.broker.lending import Lender
from ingest.broker.limits import Limits
from ingest.broker.line import Line
from ingest.clock import Deadline
from ingest.connection.session import To
from ingest.delivery.backlog import Backlog, Bounds, Chain
from ingest.delivery.batch_intake import BatchIntake
from ingest.delivery.core import Pace, PublisherCore
from ingest.delivery.entry import Entry
from ingest.delivery.envelope import mark_late
from ingest.delivery.intake import Intake
from ingest.delivery.losses import Losses
from ingest.delivery.publisher import Publisher
from ingest.delivery.spool import Spool
from ingest.delivery.store import Store
from ingest.errors import SpoolError
from ingest.events import DropReason, Event
from ingest.service.claim import Claim, Doubting
from ingest.service.keeper import Keeper
from ingest.service.progress import Progress
from ingest.service.tenure import Tenure
from settings.wire import message_id
from tests.support.backlogs import NotedFolder
from tests.support.delivery import make_envelope
from tests.support.simulated_network import Connection, Network, SimulatedLeases

LEASE = 5.0
FEED = "walk"

#: Further feeds, whose leads go along.
COMPANIONS = ("bark", "stroll")


class Plan(NamedTuple):
    """How the supervisors of a walk are set up."""

    folders: Sequence[Path | None]
    overflow: str
    write_ahead: bool
    delivers_late: bool
    pace: Pace
    batches: Sequence[int] = (1,)  # the sizes of which each process has one


class SimulatedBacklog(Backlog):
    """Has no second thread to wait for."""

    def wait(self, timeout: float, *, for_messages: bool = True) -> None:
        pass


class SimulatedPublisher(Publisher):
    """Waits in simulated time."""

    def step(self) -> None:
        self._step()

    def _pause(self, until: float) -> None:
        self._clock.now = max(self._clock.now, until)  # type: ignore[attr-defined]


class ExactLosses(Losses):
    """Knows every single message that was given up, by id."""

    def __init__(self, dropped: dict[str, DropReason], publish: Any, clock: Any) -> None:
        super().__init__(FEED, FEED, publish, clock=clock)
        self._dropped = dropped

    def drop_range(self, producer: str, first: int, last: int, count: int, from_us: int, to_us: int, reason: DropReason) -> None:
        super().drop_range(producer, first, last, count, from_us, to_us, reason)
        for seq in range(first, last + 1):
            self._dropped.setdefault(message_id(producer, seq), reason)

    def drop(self, producer: str, entries: Sequence[Entry], reason: DropReason) -> None:
        for entry in entries:  # one by one: between them there may be numbers that were not given up
            count = entry.last - entry.seq + 1
            self.drop_range(producer, entry.seq, entry.last, count, entry.received_us, entry.received_us, reason)


class Resigning:
    """Publishes nothing, and asks for the lead anew where Redis has forgotten it."""

    def __init__(self, tenure: Tenure) -> None:
        self._tenure = tenure

    def doubt(self) -> None:
        self._tenure.fenced(self._tenure.leader)

    def hear(self) -> None:
        """Wait for no reply, and so for no word that Redis answers others."""


class Node:
    """A supervisor; ``emitted`` and ``dropped`` belong to the walk."""

    def __init__(
        self,
        name: int,
        plan: Plan,
        broker: RateLimitedBroker,
        network: Network,
        chance: Random,
        limits: dict[str, Limits],
        events: list[Event],
        dropped: dict[str, DropReason],
    ) -> None:
        self.name = name
        self._plan = plan
        self._broker = broker
        self._network = network
        self._clock = network.clock
        self._chance = chance
        self._limits = limits
        self._events = events
        self._dropped = dropped
        self.runs = False
        self.start()

    def start(self) -> None:
        """Begin as a new process."""
        folder = self._plan.folders[self.name]
        self._spools: list[Spool] = []
        losses = ExactLosses(self._dropped, self._events.append, self._clock)
        self.backlog = SimulatedBacklog(
            Bounds(12, 6000, self._plan.overflow, self._plan.write_ahead and folder is not None),  # type: ignore[arg-type]
            losses,
            self._store(folder) if folder is not None else None,
            clock=self._clock,
        )
        self.intake = self._intake()
        self.tenure = Tenure(FEED, self.backlog, enter=self._enter, changed=lambda: None, publish=self._events.append)
        borrower = Lender(lambda: Connection(self._network), 1).borrower()
        line = Line(borrower, self._broker.keys, FEED, "", self._limits.__getitem__, Terms(3600.0, "w"))
        core = PublisherCore(
            feed=FEED,
            label=FEED,
            queue="trades",
            watermarks=self._limits.__getitem__,
            pace=self._plan.pace,
            uniform=self._chance.uniform,
        )
        self.publisher = SimulatedPublisher(
            self.backlog,
            line,
            core,
            self.tenure,
            publish=self._events.append,
            mark_late=partial(mark_late, message_encoder()) if self._plan.delivers_late else None,
            spools=folder is not None,
            flush=self.intake.flush_due if isinstance(self.intake, BatchIntake) else None,
            clock=self._clock,
        )
        self.claim = self._claim(FEED, self.backlog, self.tenure, self.publisher, self._events)
        self.companions = {feed: self._companion(feed) for feed in COMPANIONS}
        claims = [self.claim, *self.companions.values()]
        self._chance.shuffle(claims)
        self._keeper = Keeper(SimulatedLeases(self._network, self._broker.keys, LEASE), claims, self._clock)
        self.chain: Chain | None = None
        self._entered = 0
        self.runs = True

    def keep(self) -> None:
        """Renew, and try for the leads that others have."""
        self._keeper._renew_at = 0.0
        self._keeper.turn()

    def read(self, payloads: Sequence[tuple[int, str]]) -> list[str]:
        """Do what the feed's thread does with (number, queue) pairs; return the ids of those that were taken."""
        tenure = self.tenure.tenure
        if tenure != self._entered and (tenure or self._chance.random() < 0.5):  # it may notice late that it was fenced
            self._entered = tenure
            if tenure:
                self.tenure.enter()
                self.intake.begin()
        if not self._entered or self.chain is None or not self.intake.has_room():
            return []
        first = self.intake.emitted + 1
        body = [To([number, "x" * self._chance.choice([1, 1500])], queue=queue) for number, queue in payloads]
        self.intake.deliver(body, 1_790_000_000_000_000)
        return [message_id(self.chain.producer, first + at) for at in range(len(payloads))]

    def step(self) -> None:
        self.publisher.step()

    def unsafe(self) -> set[str]:
        """Return the ids of what a SIGKILL would take: in memory alone."""
        stretches = [each for chain in self.backlog.chains for each in self.backlog._tiers.unstored(chain)]
        held = [(entry.id.decode()[:-13], entry.seq, entry.last) for stretch in stretches for entry in stretch]
        cutter = self.intake._cutter if isinstance(self.intake, BatchIntake) else None
        if self.chain is not None and cutter is not None and cutter.open is not None:
            held.append((self.chain.producer, cutter.open.first, cutter.open.last))
        return {message_id(producer, seq) for producer, first, last in held for seq in range(first, last + 1)}

    def confirmed(self) -> set[str]:
        """Return the ids of what Redis has confirmed to this process, of producers that it still has."""
        chains = self.backlog.chains
        return {message_id(chain.producer, seq) for chain in chains for seq in range(1, chain.confirmed + 1)}

    def unflushed(self) -> set[str]:
        """Return the ids of what is confirmed and still on disk: replayed after a kill, which is harmless if Redis remembers."""
        stored: dict[str, int] = {}
        for spool in self._spools:
            with suppress(SpoolError):  # one that was let go of
                stored |= dict(spool._file.rows("SELECT id, confirmed FROM producer"))
        return {
            message_id(chain.producer, seq)
            for chain in self.backlog.chains
            for seq in range(stored.get(chain.producer, chain.confirmed) + 1, chain.confirmed + 1)
        }

    def untold(self) -> set[str]:
        """Return the ids of the drops that a SIGKILL would leave without a record: of the episode that goes on."""
        episode = self.backlog._losses._episode
        if episode is None:
            return set()
        return {message_id(episode.producer, seq) for seq in range(episode.first, episode.last + 1)}

    def kill(self) -> None:
        """End as by SIGKILL: nothing is written any more, the locks are free."""
        self.publisher._line.close()
        for spool in self._spools:
            spool._file._connection.close()
            spool._lock.release()
        self.runs = False

    def stop(self, steps: int) -> int:
        """End in order, with so much time for the queue; return how many messages are lost."""
        lost_before = self.backlog._losses.counts["lost"]
        self.intake.close()
        assert self.backlog._losses.counts["lost"] == lost_before, "what was gathered is lost, though nothing hangs"
        self.publisher.drain(Deadline(1e9, self._clock))
        for _ in range(steps):
            if self.publisher._is_over():
                self.publisher._take_leave()
                break
            self.step()
        self.publisher._line.close()
        lost = self.backlog.save(keeps=True).lost
        self._keeper.stop()
        self._keeper.release(Deadline(10.0))
        self.backlog.close()
        self.runs = False
        return lost

    @property
    def knows_of_a_lead(self) -> bool:
        """Whether this supervisor can notice that Redis forgot: it leads, or has seen who does, or its spool tells."""
        newest = self.backlog.newest
        return self.runs and (self.tenure.tenure > 0 or self.claim._rival.seen is not None or newest is not None)

    @property
    def is_through(self) -> bool:
        settled = self.publisher._core.settled and bool(self.tenure.tenure)
        gathered = self.backlog.gathering_us is None
        return settled and gathered and len(self.backlog) == 0 and len(self.backlog.chains) == 1

    @property
    def has_told(self) -> bool:
        """Whether it has recorded what it knows that Redis forgot."""
        return self.publisher._core._gap is None

    def _claim(self, feed: str, backlog: Backlog, tenure: Tenure, publisher: Doubting, events: list[Event]) -> Claim:
        return Claim(
            feed,
            feed,
            Terms(LEASE, "w"),
            backlog,
            tenure,
            publisher,
            progress=Progress(backlog, tenure),
            publish=events.append,
            clock=self._clock,
        )

    def _companion(self, feed: str) -> Claim:
        """Return the claim of a feed that delivers nothing: its lead is taken, renewed and given back by the same calls."""
        events: list[Event] = []
        backlog = SimulatedBacklog(Bounds(12, 6000, "block", False), ExactLosses({}, events.append, self._clock))
        tenure = Tenure(feed, backlog, enter=lambda chain: None, changed=lambda: None, publish=events.append)
        return self._claim(feed, backlog, tenure, Resigning(tenure), events)

    def _intake(self) -> Intake:
        size = self._chance.choice(self._plan.batches) if len(self._plan.batches) > 1 else self._plan.batches[0]
        if size == 1:
            return Intake(make_envelope, self.backlog, label=FEED, publish=self._events.append)
        return BatchIntake(
            make_envelope,
            self.backlog,
            size=size,
            timeout=0.01,
            label=FEED,
            publish=self._events.append,
            clock=self._clock,
        )

    def _enter(self, chain: Chain) -> None:
        self.chain = chain
        self.intake.enter(chain)

    def _store(self, folder: Path) -> Store:
        noted = NotedFolder(folder, self._spools, 4000, feed=FEED)
        own = noted.acquire()
        return Store(own, noted, most=4000, durable=False, feed=FEED, label=FEED, tell=self._events.append)
