"""The chains of a feed in the order of their producers' leads, and what a change of lead means for what is held.

The rule: no lock of its own; the backlog calls it with its lock held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ingest.clock import wall_us
from ingest.delivery.chain import Chain
from ingest.delivery.spool import StoredProducer
from ingest.delivery.store import Store


class Lineage:
    """The chains, oldest first; those of earlier processes come before our own."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._chains: list[Chain] = []
        if store is not None:
            self._take_in(store.earlier())

    def __iter__(self) -> Iterator[Chain]:
        return iter(tuple(self._chains))

    def __len__(self) -> int:
        return len(self._chains)

    @property
    def first(self) -> Chain | None:
        """The chain whose turn it is."""
        chains = self._chains
        return chains[0] if chains else None

    @property
    def last(self) -> Chain | None:
        """The newest chain."""
        chains = self._chains
        return chains[-1] if chains else None

    @property
    def newest_before(self) -> StoredProducer | None:
        """The newest producer that has led the feed before this process, if a spool tells of one."""
        return self._store.newest if self._store is not None else None

    def holds(self, producer: str) -> bool:
        """Whether a producer is in a spool that this process holds: then whoever made it is dead, if it was not us."""
        return self._store is not None and self._store.holds(producer)

    @property
    def candidates(self) -> list[str]:
        """The producers in our spools that may have led without knowing it."""
        return self._store.candidates if self._store is not None else []

    def propose(self, producer: str) -> None:
        """Write a candidate down before it asks for the lead."""
        if self._store is not None:
            self._store.add(producer)

    def open(self, producer: str, epoch: int) -> Chain:
        """Begin the chain of a producer that leads."""
        if self._store is not None:
            self._store.led(producer, epoch, {chain.producer for chain in self._chains})
        chain = Chain(producer, epoch, since_us=wall_us())
        self._chains.append(chain)
        return chain

    def adopt(self) -> bool:
        """Take in what processes that are dead by now left in the folder; tell whether there was anything."""
        if self._store is None:
            return False
        found, known = self._store.adopt()
        self._take_in(found)
        return known

    def make_late(self, *, but_for: str | None = None) -> None:
        """Make everything held late, for good; ``but_for`` whoever led last: what waited in the spools of that very process."""
        overtaken = [chain for chain in self._chains if not chain.late and not self._is_continued(chain, but_for)]
        for chain in overtaken:
            chain.late = True
        if self._store is not None and overtaken:
            self._store.mark_late([chain.producer for chain in overtaken])

    def remove(self, chain: Chain) -> None:
        """Forget a chain."""
        self._chains.remove(chain)
        if self._store is not None:
            self._store.forget(chain.producer)

    def _is_continued(self, chain: Chain, leader: str | None) -> bool:
        if leader is None:
            return False
        return self._store is None or self._store.is_continued_by(chain.producer, leader)

    def _take_in(self, producers: Sequence[StoredProducer]) -> None:
        found = [Chain.left_by(each) for each in producers]
        earlier = sorted([*found, *(chain for chain in self._chains if chain.earlier)], key=lambda chain: chain.epoch)
        self._chains = [*earlier, *(chain for chain in self._chains if not chain.earlier)]
