"""The intake of a feed with batches: gathers payloads, and puts them in the backlog as messages that carry several.

The rule: what is gathered is closed by whoever comes first: a payload that fills it or does not fit, the feed's thread where its
connection or its tenure ends, the publisher's thread when its time is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from threading import Lock

from ingest.clock import Monotonic, monotonic
from ingest.delivery.backlog import Backlog, Chain, Entry
from ingest.delivery.batches import Batch, Cutter
from ingest.delivery.entry import payloads_in
from ingest.delivery.envelope import Envelope
from ingest.delivery.intake import Intake
from ingest.errors import PayloadRefused
from ingest.events import Publish

#: Seconds after which the publisher looks again, where the feed's thread is at work on what is gathered.
_BUSY = 0.01

#: Seconds that a stop waits for a feed's thread that is at work on it; it may hang in an encoder or a middleware of the user's.
_HANGS = 1.0


class BatchIntake(Intake):
    """An intake that gathers up to ``size`` payloads, for ``timeout`` seconds at most.

    The feed's thread and the publisher's (`flush_due`) share it: one lock, which is taken before the backlog's.
    """

    def __init__(
        self,
        make_envelope: Callable[[str], Envelope],
        backlog: Backlog,
        *,
        size: int,
        timeout: float,
        label: str,
        publish: Publish,
        before: Callable[[bytes], bytes] | None = None,
        clock: Monotonic = monotonic,
    ) -> None:
        super().__init__(make_envelope, backlog, label=label, publish=publish, before=before)
        self._size = size
        self._timeout = timeout
        self._clock = clock
        self._lock = Lock()
        self._cutter: Cutter | None = None
        self._due = inf  # when what is gathered has waited long enough

    def enter(self, chain: Chain) -> None:
        if chain is self._chain:
            return
        with self._lock:
            self._close_open()
            super().enter(chain)
            assert self._envelope is not None, "to enter is to have one"
            self._cutter = Cutter(self._envelope, self._size)

    def flush(self) -> None:
        with self._lock:
            self._close_open()

    def flush_due(self) -> float:
        """Close what has waited long enough; return the seconds until there may be something to close again."""
        if self._due == inf:
            return inf
        if not self._lock.acquire(blocking=False):
            return _BUSY
        try:
            left = self._due - self._clock()
            if left > 0:
                return left
            self._close_open()
            return inf
        finally:
            self._lock.release()

    def close(self) -> None:
        locked = self._lock.acquire(timeout=_HANGS)
        try:
            if locked:
                self._close_open()
            super().close()
        finally:
            if locked:
                self._lock.release()

    def deliver(self, payloads: Sequence[object], received_us: int) -> None:
        with self._lock:
            if self._closed:
                return
            assert self._cutter is not None, "a connection was made before a tenure began"
            self._received_us = received_us
            closed: list[Batch] = []
            try:
                self._cutter.add(payloads, self._emitted + 1, received_us, closed)
            except PayloadRefused as refused:
                self._count(closed[-1].last - self._emitted if closed else 0)
                self._put(closed)
                self._give_up(refused, received_us)
                raise
            self._count(len(payloads))
            if self._timeout == 0:
                self._cutter.close(closed)
            self._put(closed)

    # With the lock held.

    def _close_open(self) -> None:
        if self._cutter is not None and self._cutter.open is not None:
            closed: list[Batch] = []
            self._cutter.close(closed)
            self._put(closed)

    def _put(self, closed: list[Batch]) -> None:
        """Put what is closed in the backlog, and look after what is open by now."""
        assert self._cutter is not None, "nothing is closed that was not gathered"
        if entries := self._sealed(closed):
            self._hand_over(entries, payloads_in(entries))
        still = self._cutter.open
        if still is None:
            self._due, self._backlog.gathering_us = inf, None
        elif closed or self._due == inf:
            self._due, self._backlog.gathering_us = self._clock() + self._timeout, still.received_us
            self._backlog.wake()  # the publisher, which may sleep for longer than that

    def _sealed(self, closed: list[Batch]) -> list[Entry]:
        assert self._envelope is not None, "what is gathered has its envelope"
        entries: list[Entry] = []
        for batch in closed:
            try:
                entries.append(batch.seal(self._envelope))
            except PayloadRefused as refused:
                self._refuse(batch.first, batch.last, batch.received_us, refused)
        return entries
