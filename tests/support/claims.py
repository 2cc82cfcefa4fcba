"""One process's way to the lead of a feed ("trades"), with real leases, and a clock that is set by hand."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TypeVar

import redis

from ingest.broker.keys import Keys
from ingest.broker.lease import Leases, Terms
from ingest.delivery.backlog import Backlog, Bounds, Chain
from ingest.delivery.losses import Losses
from ingest.events import Event
from ingest.service.claim import Claim
from ingest.service.keeper import Keeper
from ingest.service.progress import Progress
from ingest.service.tenure import Tenure
from tests.support.backlogs import kept_store
from tests.support.connections import ManualClock

KEYS = Keys("dramatiq")
FEED_KEY = KEYS.feed("", "trades")

E = TypeVar("E", bound=Event)


class Doubts:
    """Stands for the publisher: counts how often it was told to ask Redis anew."""

    def __init__(self) -> None:
        self.count = 0

    def doubt(self) -> None:
        self.count += 1


class Contender:
    """A process that wants to lead; its lease lasts a minute, so that Redis's clock plays no part.

    Parameters:
      folder: that of its spool; None: it has none.
      what: the fingerprint of its feed.
    """

    def __init__(
        self, client: redis.Redis, folder: Path | None = None, *, seconds: float = 60.0, what: str = "url", feed: str = "trades"
    ) -> None:
        self.clock = ManualClock()
        self.events: list[Event] = []
        self.entered: list[Chain] = []
        self.changes = 0
        self.gaps: list[bytes] = []
        self.places: deque[tuple[int, str]] = deque()
        self.doubts = Doubts()
        self.leases = Leases(client, KEYS, "", seconds)
        losses = Losses(feed, "label", self.events.append, clock=self.clock)
        store = kept_store(folder, self.events, self.clock, feed=feed) if folder is not None else None
        self.backlog = Backlog(Bounds(100, 1 << 20), losses, store, clock=self.clock)
        self.tenure = Tenure("label", self.backlog, enter=self.entered.append, changed=self._changed, publish=self.events.append)
        self.claim = Claim(
            feed,
            "label",
            Terms(seconds, what),
            self.backlog,
            self.tenure,
            self.doubts,
            progress=Progress(self.backlog, self.tenure, places=self.places),
            adopted=lambda: self.gaps.extend(self.backlog.take_gaps()),
            publish=self.events.append,
            clock=self.clock,
        )

    def attempt(self) -> bool:
        """Try for the lead once; tell whether this process leads."""
        Keeper(self.leases, [self.claim], self.clock).turn()
        return self.claim.leads

    def renew(self) -> None:
        renewal = self.claim.renewal()
        assert renewal is not None
        [answer] = self.leases.renew([renewal])
        self.claim.renewed(renewal, answer)

    def release(self) -> None:
        renewal = self.claim.renewal()
        if renewal is not None:
            self.leases.release([renewal])

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def _changed(self) -> None:
        self.changes += 1
