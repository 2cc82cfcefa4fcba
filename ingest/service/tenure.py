"""Who leads one feed, as far as this process knows: shared by the thread that reads, the one that publishes, and the keeper.

The rule: a lead is granted by the keeper alone and lost through whoever hears of it first; what was read under it stays its own.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from ingest.connection.gaps import Before
from ingest.delivery.backlog import Backlog, Chain
from ingest.events import LeaseLost, Publish


class Tenure:
    """The lead of one feed.

    Parameters:
      enter: called in the feed's thread with the chain to which all that it emits from then on belongs.
      changed: called in any thread when the lead is won or lost.
    """

    def __init__(
        self,
        label: str,
        backlog: Backlog,
        *,
        enter: Callable[[Chain], None],
        changed: Callable[[], None],
        publish: Publish,
    ) -> None:
        self._label = label
        self._backlog = backlog
        self._enter = enter
        self._changed = changed
        self._publish = publish
        #: Called when the lead is lost: there may be another to take.
        self.on_lost: Callable[[], None] = lambda: None
        self._lock = Lock()
        self._number = 0
        self._chain: Chain | None = None  # of the tenure that is held
        self._before: Before | None = None
        self._entered = ""

    @property
    def tenure(self) -> int:
        """The number of the time for which this process leads; 0 while it does not."""
        with self._lock:
            return self._number if self._chain is not None else 0

    @property
    def producer(self) -> str:
        """The producer of the tenure that was entered last."""
        return self._entered

    @property
    def leader(self) -> str:
        """The producer whose lease is held; "" while another process leads."""
        chain = self._chain
        return chain.producer if chain is not None else ""

    @property
    def chain(self) -> Chain | None:
        """The chain of the tenure that is held."""
        return self._chain

    @property
    def unused_since(self) -> int | None:
        """Since when nobody has read (wall-clock microseconds), where the tenure held was not entered yet; else None."""
        with self._lock:
            unused = self._chain is not None and self._entered != self._chain.producer
            return self._before.from_us if unused and self._before is not None else None

    def enter(self) -> Before | None:
        """Take up the tenure held now: what is emitted from now on belongs to it. Return what is known of the time before."""
        with self._lock:
            chain, before = self._chain, self._before
            if chain is None:
                return None
            self._entered = chain.producer
        self._enter(chain)
        return before

    def granted(self, chain: Chain, before: Before | None) -> None:
        """Take that the lease is ours."""
        with self._lock:
            self._number += 1
            self._chain, self._before = chain, before
        self._backlog.wake()  # what earlier processes left may be sent now
        self._changed()

    def fenced(self, producer: str, leader: str = "") -> None:
        """Take that ``producer`` leads no more, and ``leader`` does; what this process holds is late from now on."""
        self._lose(producer, leader, self._backlog.fence)

    def resigned(self, producer: str) -> None:
        """Take that the lease of ``producer`` was given back; what is held is late only where another is found to have led."""
        self._lose(producer, "", lambda: len(self._backlog))

    def _lose(self, producer: str, leader: str, count_held: Callable[[], int]) -> None:
        with self._lock:
            if self._chain is None or self._chain.producer != producer:
                return
            chain, self._chain = self._chain, None
            if self._entered != producer:
                self._backlog.end(chain)  # the feed's thread has never seen it, and never will
            held = count_held()
        self._publish(LeaseLost(telemetry_id=self._label, leader=leader, held=held))
        self._changed()
        self.on_lost()
