"""What one process holds of one queue: messages fetched and not yet done, and those done of which Redis does not know yet.

The rule: a message that is done stays here until Redis has confirmed it, however often that takes; it outlives consumers, which
Dramatiq makes anew after every error. If the process ends before, Redis still counts the message as fetched, and Dramatiq's
heartbeat rule delivers it again.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence

import redis

from ingest.clock import Monotonic, monotonic
from ingest.wakeup import Wakeup

#: Done messages that are told at once, and seconds that one waits for others at most.
BATCH = 100
LONGEST_AGE = 0.05

#: Seconds until the next attempt after Redis could not be told.
RETRY_DELAY = 1.0

#: Messages in one call (ack.lua); more than `BATCH` only after an outage.
_LARGEST_CALL = 1000

_log = logging.getLogger(__name__)


class Ledger:
    """The ids of one queue; `settle` and `drop` may be called by any thread, the rest by the consumer's.

    Parameters:
      tell: acknowledges messages in Redis; raises redis-py's errors.
      wakeup: set whenever the consumer's thread has something to do here.
    """

    def __init__(self, tell: Callable[[Sequence[str]], None], wakeup: Wakeup, clock: Monotonic = monotonic) -> None:
        self._tell = tell
        self._wakeup = wakeup
        self._clock = clock
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        #: Fetched and not done, in the order of fetching; those with an eta wait in the consumer's thread for their time.
        self._held: dict[str, bool] = {}
        self._done: list[str] = []
        self._due = math.inf
        self._room_at = -1
        self._failing = False

    @property
    def held(self) -> int:
        return len(self._held)

    def hold(self, ident: str, delayed: bool = False) -> None:
        """Take note of a message that is handed to the workers, or kept until its time has come."""
        with self._lock:
            self._held[ident] = delayed

    def settle(self, ident: str) -> None:
        """Take note that a message is done. With nothing else in hand Redis is told before this returns."""
        with self._lock:
            self._forget(ident)
            first = not self._done
            self._done.append(ident)
            if first:
                self._due = self._clock() + LONGEST_AGE
            full = len(self._done) == BATCH
            if full:
                self._due = 0.0
            idle = not self._held and not self._failing
        if idle:
            self.flush()
        elif first or full:
            self._wakeup.set()

    def drop(self, ident: str) -> None:
        """Take note that a message has left our hands in another way."""
        with self._lock:
            self._forget(ident)

    def _forget(self, ident: str) -> None:
        self._held.pop(ident, None)
        if len(self._held) <= self._room_at:
            self._room_at = -1
            self._wakeup.set()

    def call_at(self, count: int) -> None:
        """Have the wake-up set as soon as no more than ``count`` messages are in hand, which may be now."""
        with self._lock:
            self._room_at = count
            if len(self._held) <= count:
                self._room_at = -1
                self._wakeup.set()

    def in_order(self, ids: Sequence[str]) -> list[str]:
        """Return ids in the order of fetching; those that are not in hand come last."""
        with self._lock:
            place = {ident: at for at, ident in enumerate(self._held)}
        return sorted(ids, key=lambda ident: place.get(ident, len(place)))

    def delayed(self) -> list[str]:
        """Return what was kept until its time."""
        with self._lock:
            return [ident for ident, delayed in self._held.items() if delayed]

    def known(self) -> set[str]:
        """Return what is in hand, and what is done without Redis having confirmed it."""
        with self._lock:
            return {*self._held, *self._done}

    def remaining(self) -> float:
        """Return the seconds until a `flush` is due, below zero if it is overdue; infinity if Redis knows everything."""
        return self._due - self._clock()

    def flush(self) -> bool:
        """Tell Redis of what is done; False, and a line in the log, if it could not be told of all."""
        with self._telling:
            todo = len(self._done)
            while todo > 0:
                ids = self._done[: min(todo, _LARGEST_CALL)]
                try:
                    self._tell(ids)
                except redis.RedisError as error:
                    self._failed(error)
                    return False
                self._told(len(ids))
                todo -= len(ids)
        return True

    def _failed(self, error: redis.RedisError) -> None:
        with self._lock:
            self._due = self._clock() + RETRY_DELAY
            failing, self._failing = self._failing, True
        if not failing:
            _log.warning(
                "%d messages are done, but could not be acknowledged: %s. They are kept and tried again; "
                "if this process ends before, they will be delivered again.",
                len(self._done),
                error,
            )
        self._wakeup.set()

    def _told(self, count: int) -> None:
        with self._lock:
            del self._done[:count]
            self._failing = False
            self._due = self._clock() + LONGEST_AGE if self._done else math.inf
            if self._done:
                self._wakeup.set()
