"""Brings gaps into Redis, as records and as messages to each feed's ``gap_actor``. The thread ``gaps``.

The rule: `GapWriter.put` never waits and never raises; while Redis is away, the newest gaps are kept, and what could not be
written at the end is handed back.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import redis

from ingest.broker.gaps import GapActor, GapMessage, GapRecord, gap_message, write_gap
from ingest.broker.hooks import EnqueueHooks
from ingest.broker.keys import Keys
from ingest.clock import Deadline
from ingest.delivery.pacing import Backoff
from ingest.errors import BrokerError, BrokerRefused, EnqueueVetoed, PayloadRefused
from ingest.events import GapFound, HandlerFailed, Publish, SinkOverloaded
from ingest.service.threads import start
from ingest.telemetry.facts import safe_text
from ingest.telemetry.log import log_event

#: Gaps that may wait for Redis. One outage of a feed is one gap.
CAPACITY = 1000

#: Under this name the loss of gaps is told.
NAME = "gaps"


@dataclass(slots=True, eq=False)
class _Waiting:
    label: str
    record: GapRecord
    #: Made once, however often it is sent: middleware is not to see it twice.
    message: GapMessage | None = None
    is_made: bool = False


class GapWriter:
    """Takes gaps from any thread and writes them from its own.

    Parameters:
      client: its time-outs are what `close` may have to wait for.
      hooks: the broker's middleware around each such message.
      publish: is told when gaps are lost, and when a message about one cannot be made.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        group: str,
        hooks: EnqueueHooks,
        publish: Publish,
        *,
        capacity: int = CAPACITY,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.written = 0
        self.lost = 0
        self._client = client
        self._keys = keys
        self._group = group
        self._actors: dict[str, GapActor] = {}  # who is told, for those feeds that name a `gap_actor`
        self._hooks = hooks
        self._hooks_of: dict[str, EnqueueHooks] = {}
        self._publish = publish
        self._capacity = capacity
        self._backoff = Backoff(uniform)
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._overflowing = False
        self._refusing = False
        self._deadline: Deadline | None = None
        self._over = False
        self._thread: threading.Thread | None = None

    def use(self, feed: str, hooks: EnqueueHooks, actor: GapActor | None = None) -> None:
        """Tell ``actor`` of one feed's gaps, and call these hooks for them: the feed has its own eye on them."""
        self._hooks_of[feed] = hooks
        if actor is None:
            self._actors.pop(feed, None)
        else:
            self._actors[feed] = actor

    def start(self) -> None:
        """Start the thread."""
        self._thread = start(NAME, self._run)

    def put(self, gap: GapFound) -> None:
        """Take a gap; where too many wait, the oldest goes. May be called before `start`."""
        self._add(gap.telemetry_id, GapRecord.of(replace(gap, detail=safe_text(gap.detail))))

    def put_record(self, record: GapRecord, label: str | None = None) -> None:
        """Take a gap that an earlier process could not write; ``label`` is its feed's ``telemetry_id``."""
        self._add(label or record.feed, record)

    def since_us(self, feed: str) -> int | None:
        """Return when the first of a feed's gaps that are not written yet began; None if none waits, or nobody knows when."""
        with self._changed:
            begun = [each.record.from_us for each in self._waiting if each.record.feed == feed and each.record.from_us]
        return min(begun, default=None)

    def close(self, timeout: float) -> list[GapRecord]:
        """Write what waits, within ``timeout`` seconds, and end; return what could not be written.

        Written is not doubled: of what is returned, something may be in Redis after all, and may be put again.
        """
        with self._changed:
            self._deadline = Deadline(timeout)
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
        with self._changed:
            self._over = True
            self._changed.notify_all()
            return [each.record for each in self._waiting]

    def _add(self, label: str, record: GapRecord) -> None:
        with self._changed:
            self._waiting.append(_Waiting(label, record))
            full = len(self._waiting) > self._capacity
            first = full and not self._overflowing
            if full:
                self._waiting.popleft()
                self.lost += 1
                self._overflowing = True
            self._changed.notify_all()
        if first:
            self._publish(SinkOverloaded(telemetry_id=label, sink=NAME))

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            try:
                self._make_message(waiting)
                new = write_gap(self._client, self._keys, self._group, waiting.record, waiting.message)
            except BrokerError as error:
                self._failed(waiting, error)
            else:
                self._succeeded(waiting, new)

    def _next(self) -> _Waiting | None:
        """Return the oldest gap as soon as there is one, or None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._waiting or self._deadline is not None)
            ended = self._over or not self._waiting or (self._deadline is not None and self._deadline.expired)
            return None if ended else self._waiting[0]

    def _make_message(self, waiting: _Waiting) -> None:
        to = self._actors.get(waiting.record.feed)
        if to is None or waiting.is_made:
            return
        waiting.is_made = True
        try:
            waiting.message = gap_message(waiting.record, to, self._hooks_for(waiting).before)
        except (PayloadRefused, EnqueueVetoed) as error:  # the record is kept all the same
            self._publish(HandlerFailed(telemetry_id=waiting.label, where="gap_actor", cause=error))

    def _succeeded(self, waiting: _Waiting, new: bool) -> None:
        self._backoff.reset()
        with self._changed:
            self.written += 1
            self._overflowing = self._refusing = False
            self._forget(waiting)
        after = self._hooks_for(waiting).after
        if new and waiting.message is not None and after is not None:
            self._after(waiting, waiting.message, after)

    def _hooks_for(self, waiting: _Waiting) -> EnqueueHooks:
        return self._hooks_of.get(waiting.record.feed, self._hooks)

    def _after(self, waiting: _Waiting, message: GapMessage, after: Callable[[bytes], None]) -> None:
        try:
            after(message.data)
        except Exception as error:  # noqa: BLE001 - the user's middleware; the message is in its queue
            self._publish(HandlerFailed(telemetry_id=waiting.label, where="after_enqueue", cause=error))

    def _failed(self, waiting: _Waiting, error: BrokerError) -> None:
        """Wait until the next attempt; of an unreachable Redis the publishers tell."""
        if isinstance(error, BrokerRefused):
            if not self._refusing:
                log_event(logging.ERROR, "gap_not_recorded", {"feed": waiting.label, "detail": safe_text(str(error))})
            self._refusing = True
            with self._changed:  # it may be this one's key alone: the others get their turn
                if self._forget(waiting):
                    self._waiting.append(waiting)
        self._pause(self._backoff.next())

    def _forget(self, waiting: _Waiting) -> bool:
        """Take a gap out; False if it has been pushed out meanwhile."""
        if not self._waiting or self._waiting[0] is not waiting:
            return False
        self._waiting.popleft()
        return True

    def _pause(self, seconds: float) -> None:
        """Wait so long; the beginning of the end cuts it short, and after that the deadline does."""
        with self._changed:
            deadline = self._deadline
            longest = seconds if deadline is None else min(seconds, deadline.remaining())
            self._changed.wait_for(lambda: self._over or self._deadline is not deadline, longest)
