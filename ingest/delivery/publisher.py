"""Moves a feed's backlog into its queues: the body of the publish thread.

The rule: it decides nothing (`ingest.delivery.core` does); it carries out, and no failure ends it without somebody being told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from ingest.clock import Deadline, Monotonic, monotonic
from ingest.delivery.backlog import Backlog, Entry
from ingest.delivery.core import PublisherCore
from ingest.delivery.steps import Action, Effect, Idle, Join, Poll, Receive, Reject, Reply, Send, Wait
from ingest.errors import BrokerRefused, BrokerTimedOut, BrokerUnreachable
from ingest.events import MessageRejected, Publish

#: A stop is noticed within so many seconds, also while Redis owes a reply.
_SLICE = 0.1

#: Nothing happens without a wake-up, so this only bounds what a missed one could cost.
_LONGEST_IDLE = 60.0


class Line(Protocol):
    """A connection to the queues (`ingest.broker.line.Line`)."""

    def join(self, producer: str, base: int | None) -> int | None: ...
    def enqueue_batch(self, producer: str, prev: int, last: int, messages: Sequence[Entry]) -> None: ...
    def reply(self, timeout: float) -> Reply | None: ...
    def depth(self, queue: str) -> int: ...
    def done(self, producer: str) -> bool: ...
    def close(self) -> None: ...


class Publisher:
    """Publishes one producer's entries, in order, until told to stop.

    Parameters:
      after: called with the bytes of every message that is in its queue, or None.
    """

    def __init__(
        self,
        producer: str,
        backlog: Backlog,
        line: Line,
        core: PublisherCore,
        *,
        label: str,
        publish: Publish,
        after: Callable[[bytes], None] | None = None,
        clock: Monotonic = monotonic,
    ) -> None:
        self._producer = producer
        self._backlog = backlog
        self._line = line
        self._core = core
        self._label = label
        self._publish = publish
        self._after = after
        self._clock = clock
        self._enqueued = 0
        self._rejected = 0
        self._end: float | None = None  # when to be over, once that is known
        self._woken = threading.Event()

    @property
    def enqueued(self) -> int:
        """Messages that Redis has confirmed."""
        return self._enqueued

    @property
    def rejected(self) -> int:
        """Messages that Redis refused again and again, and that were given up."""
        return self._rejected

    @property
    def retries(self) -> int:
        """How often something had to be tried again."""
        return self._core.retries

    def run(self) -> None:
        """Publish until `stop`, or until a `drain` is through; close the line.

        Whatever is raised is a fault of ours, for the caller to report; after `crashed` it may be run again.
        """
        try:
            while not self._is_over():
                self._step()
            self._take_leave()
        finally:
            self._line.close()

    def crashed(self) -> None:
        """Take that `run` was ended by a fault: the next one begins by asking Redis how far it came."""
        self._core.begin(self._clock())

    def drain(self, deadline: Deadline) -> None:
        """Publish what is left until the deadline, then let `run` end. The feed must have stopped putting.

        What is left then is ``len(backlog)``; of that, the last calls may have arrived all the same.
        """
        self._end_by(self._clock() + deadline.remaining())

    def stop(self) -> None:
        """Let `run` end at once; what is not confirmed stays in the backlog."""
        self._end_by(self._clock())

    def _end_by(self, end: float) -> None:
        self._end = end if self._end is None else min(self._end, end)
        self._woken.set()
        self._backlog.wake()

    def _is_over(self) -> bool:
        if self._end is None:
            return False
        return self._clock() >= self._end or len(self._backlog) == 0

    def _step(self) -> None:
        action = self._core.next(self._clock(), self._backlog.has_waiting)
        try:
            effect = self._carry_out(action)
        except (BrokerUnreachable, BrokerRefused) as error:
            effect = self._core.failed(error, self._clock())
        self._apply(effect)

    def _carry_out(self, action: Action) -> Effect:
        match action:
            case Send(messages, size):
                self._send(messages, size)
            case Receive(until):
                reply = self._line.reply(max(0.0, min(_SLICE, until - self._clock())))
                if reply is not None:
                    return self._core.replied(reply, self._clock())
                if self._clock() >= until:
                    raise BrokerTimedOut("no reply to a batch")
            case Idle():
                self._backlog.wait(_LONGEST_IDLE)
            case Wait(until):
                self._pause(until)
            case Poll(queue):
                return self._core.polled(self._line.depth(queue), self._clock())
            case Join(base):
                return self._core.joined(self._line.join(self._producer, base), self._clock())
            case Reject(seq, detail):
                self._reject(seq, detail)
        return Effect()

    def _send(self, messages: int, size: int) -> None:
        entries = self._backlog.take(messages, size)
        last = entries[-1].last
        prev = self._core.sent(entries[0].seq, last, len(entries), self._clock())
        self._line.enqueue_batch(self._producer, prev, last, entries)

    def _pause(self, until: float) -> None:
        if self._end is not None:
            until = min(until, self._end)
        self._woken.wait(max(0.0, until - self._clock()))
        self._woken.clear()

    def _reject(self, seq: int, detail: str) -> None:
        self._core.rejected()
        if self._backlog.drop(seq) is not None:
            self._rejected += 1
            self._publish(MessageRejected(telemetry_id=self._label, seq=seq, detail=detail))

    def _apply(self, effect: Effect) -> None:
        if effect.close:
            self._line.close()
        for event in effect.events:
            self._publish(event)
        if effect.commit is not None:
            committed = self._backlog.commit(effect.commit)
            self._enqueued += len(committed)
            if self._after is not None:
                for entry in committed:
                    self._after(entry.data)
        if effect.rewind:
            self._backlog.rewind()

    def _take_leave(self) -> None:
        if self._core.settled and len(self._backlog) == 0:
            try:
                effect = self._core.left(self._line.done(self._producer))
            except (BrokerUnreachable, BrokerRefused):
                return  # Redis forgets the producer by itself, in time
            self._apply(effect)
