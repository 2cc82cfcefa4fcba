"""Decides what a publisher does next: join, send, read a reply, wait. The protocol of delivery, without I/O.

The rule: what Redis holds is only ever believed when it says so. A reply moves the position; a lost one is not guessed but asked
for, by joining again, which makes every call still under way void. One producer at a time: the next is followed only when nothing
of the one before is under way.

::

    JOINING ──joined──▶ SENDING ──a reply that is not ok──▶ SETTLING ──all replies read──┐
       ▲                 ▲   └──────── one call in flight ────────────────────────────────┤
       │                 └── depth ≤ low, or wait over ── PAUSED ◀── full, rate ──────────┤
       └── the line broke (from everywhere), gap, error ◀─────────────────────────────────┘

It is long because the table has one owner: every method is an arrow of it, and all of them move the same position.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from ingest.clock import wall_us
from ingest.delivery.chain import Chain
from ingest.delivery.outage import Outage
from ingest.delivery.pacing import POLL_INTERVAL, Backoff, FullQueue
from ingest.delivery.steps import (
    Action,
    Effect,
    Idle,
    Join,
    Joined,
    Poll,
    Receive,
    Record,
    Reject,
    Reply,
    Send,
    Wait,
    Watermarks,
)
from ingest.errors import BrokerError, BrokerRefused, ForeignWriter
from ingest.events import GapFound, MessageRejected, QueueForgotten
from ingest.measures import SECONDS, SIZES, Histogram

#: A message that Redis refuses by itself so often is given up.
MOST_REFUSALS = 10

#: A reply that others have been given for so many seconds (`PATIENCE`), and still so many later (`GRACE`), will never come.
PATIENCE = 1.0
GRACE = 0.25

#: Errors that say something of the server, or of a key of ours, not of a message: waited for, without end.
SERVER_CODES = frozenset(
    {"OOM", "LOADING", "READONLY", "BUSY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "CLUSTERDOWN", "TRYAGAIN", "NOSCRIPT"}
    | {"NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE"}
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is sent at once, and how long a reply may take."""

    window: int = 4
    messages: int = 1000
    size: int = 1_000_000
    call_timeout: float = 5.0


class _State(Enum):
    JOINING = auto()
    SENDING = auto()
    SETTLING = auto()
    PAUSED = auto()


class _Call(NamedTuple):
    prev: int
    first: int
    messages: int
    at: float


class PublisherCore:
    """The state of one feed's way into its queues; `follow` says of which producer.

    Parameters:
      feed, label: the feed's name and ``telemetry_id``; ``queue``: the queue that a forgetting Redis is reported for.
      watermarks: those of a queue by its name.
      uniform: chance, for the jitter of the backoff.

    Attributes:
      retries: how often something had to be tried again.
      call_seconds: from a call to its reply, of those that got one; ``call_messages``: what was in a call.
    """

    def __init__(
        self,
        *,
        feed: str,
        label: str,
        queue: str,
        watermarks: Callable[[str], Watermarks],
        pace: Pace,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.retries = 0
        self.call_seconds = Histogram(SECONDS)
        self.call_messages = Histogram(SIZES)
        self._feed = feed
        self._label = label
        self._queue = queue
        self._watermarks = watermarks
        self._pace = pace
        self._state = _State.JOINING
        self._until = 0.0  # when a wait ends, or a reply is overdue
        self._backoff = Backoff(uniform)
        self._outage = Outage(label)
        self._calls: deque[_Call] = deque()
        self._trouble: tuple[Reply, _Call] | None = None
        self._lost: _Call | None = None  # the oldest call of a line that broke
        self._window = pace.window
        self._messages = pace.messages
        self._full: tuple[str, FullQueue] | None = None
        self._refusals = 0
        self._refused: Reject | None = None
        self.follow(Chain(""), 0.0)

    def follow(self, chain: Chain, now: float) -> None:
        """Go on with another chain, or under another lease; of a chain that an earlier process left, Redis may hold more."""
        self.begin(now)
        self._lost = None
        self._producer = chain.producer
        self._since_us = chain.since_us
        self._epoch = chain.epoch
        self._confirmed = chain.confirmed  # what Redis said last
        self._prev = chain.confirmed  # the last number of the call before
        self._sent = None if chain.earlier else max(chain.furthest, chain.confirmed)  # the highest ever sent, if we know it
        self._may_begin = False  # whether Redis is right not to know the producer
        self._gap: GapFound | None = None  # what Redis forgot, not yet recorded
        self._refused = None

    @property
    def settled(self) -> bool:
        """Whether the line is joined and no reply is outstanding."""
        return self._state is _State.SENDING and not self._calls

    @property
    def under_way(self) -> bool:
        """Whether a reply is outstanding."""
        return bool(self._calls)

    @property
    def away(self) -> bool:
        """Whether Redis has failed more than once since it last admitted anything."""
        return self._state is _State.JOINING and self._backoff.attempts > 1

    @property
    def confirmed(self) -> int:
        """The number up to which Redis has said it has everything."""
        return self._confirmed

    def begin(self, now: float) -> None:
        """Take that there is no line yet, or no more: whatever was under way is asked for at the first join."""
        if self._calls:
            self._lost = self._calls[0]
        self._calls.clear()
        self._trouble = None
        self._full = None
        self._state = _State.JOINING
        self._until = now

    def next(self, now: float, has_messages: bool) -> Action:
        """Return what to do now."""
        if self._state in (_State.JOINING, _State.PAUSED) and now < self._until:
            return Wait(self._until)
        if self._state is _State.JOINING:
            if self._gap is not None:
                return Record(self._gap)  # before a join writes anything, so that no lost reply can hide it
            return Join(self._confirmed if self._may_begin else None)
        if self._state is _State.PAUSED and self._full is not None:
            return Poll(self._full[0])
        if self._state is _State.PAUSED:
            self._state = _State.SENDING
        if self._state is _State.SENDING:
            if self._refused is not None:
                return self._refused
            if has_messages and len(self._calls) < self._window:
                return Send(self._messages, self._pace.size)
        return Receive(self._until) if self._calls else Idle()

    def joined(self, found: Joined, now: float) -> Effect:
        """Take what a join found."""
        if found.fenced:
            return Effect(fenced=True)
        position = found.position
        # An old call that asks for the lead may make an empty Redis look as if we had just begun: the epoch tells.
        reset = found.epoch is not None and found.epoch < self._epoch
        if position is None or position < self._confirmed or reset:
            told, self._gap = self._forgotten(position or 0)
            self._epoch = 0
            if position is not None:
                self._confirmed = min(position, self._confirmed)
            return Effect(events=(told,))
        if self._sent is not None and position > max(self._sent, self._confirmed):
            raise ForeignWriter(self._producer, position, self._sent)
        if self._lost is not None and position <= self._confirmed:
            # A line that breaks before the first call is through needs shorter calls.
            self._messages = max(1, min(self._messages, self._lost.messages) // 2)
        self._lost = None
        self._confirmed = self._prev = position
        self._state = _State.SENDING
        return Effect(commit=position, rewind=True, events=self._outage.joined(now))

    def recorded(self) -> GapFound | None:
        """Take that what Redis forgot is recorded, or is left to others to record; return it, if there was anything.

        The next join may begin where we know ourselves to be.
        """
        gap, self._gap = self._gap, None
        self._may_begin = self._may_begin or gap is not None
        return gap

    def sent(self, first: int, last: int, count: int, now: float) -> int:
        """Note a call that is about to be sent, of numbers ``first`` to ``last``; return the ``prev`` that goes with it."""
        prev = self._prev
        if not self._calls:
            self._until = now + self._pace.call_timeout
        self._calls.append(_Call(prev, first, count, now))
        self.call_messages.add(count)
        self._prev = last
        if self._sent is not None:
            self._sent = max(self._sent, last)
        self._may_begin = False
        return prev

    def replied(self, reply: Reply, now: float) -> Effect:
        """Take the reply to the oldest call."""
        call = self._calls.popleft()
        self.call_seconds.add(now - call.at)
        self._until = now + self._pace.call_timeout
        if self._trouble is None and reply.status == "ok":
            self._window = min(self._window + 1, self._pace.window)
            self._messages = min(self._messages * 2, self._pace.messages)
            return self._admitted(reply, now)
        if self._trouble is None:  # what comes after the first trouble is its echo
            self._trouble = (reply, call)
        if self._calls:
            self._state = _State.SETTLING
            return Effect()
        (reply, call), self._trouble = self._trouble, None
        return self._pause(reply, now) if reply.status in ("full", "rate") else self._retry(reply, call, now)

    def polled(self, depth: int, now: float) -> Effect:
        """Take the depth that was asked for."""
        if self._full is not None and not self._drained(*self._full, depth, now):
            self._until = now + POLL_INTERVAL
        else:
            self._full = None
            self._state = _State.SENDING
        return Effect()

    def _drained(self, queue: str, full: FullQueue, depth: int, now: float) -> bool:
        marks = self._watermarks(queue)  # they may have changed since it was full
        return full.drained(depth, now, low=marks.low, high=marks.high)

    def failed(self, error: BrokerError, now: float) -> Effect:
        """Take that the line broke, or could not be joined; what was under way is asked for at the next join."""
        self.begin(now)
        return self._join_later(now, close=True)._replace(events=self._outage.failed(error, self._backoff.attempts, now))

    def is_passed_over(self, now: float, heard_at: float) -> bool:
        """Tell whether Redis has answered others (last at ``heard_at``) but not the oldest call, which was sent long before."""
        since = self._until - self._pace.call_timeout
        return bool(self._calls) and heard_at - since >= PATIENCE and now - heard_at >= GRACE

    def rejected(self, seq: int, detail: str) -> MessageRejected:
        """Note that the message was given up; return what there is to tell of it."""
        self._refused = None
        self._refusals = 0
        return MessageRejected(telemetry_id=self._label, seq=seq, detail=detail)

    def left(self, known: bool) -> Effect:
        """Take that the producer took leave; a Redis that did not know it has forgotten what it confirmed."""
        return Effect(events=self._forgotten(0) if self._confirmed and not known else ())

    def _admitted(self, reply: Reply, now: float) -> Effect:
        assert reply.position is not None, "the script tells a position with every admission"
        self._confirmed = reply.position
        self._refusals = 0
        self._backoff.reset()
        return Effect(commit=reply.position, events=self._outage.ended(now))

    def _pause(self, reply: Reply, now: float) -> Effect:
        """No room or no tokens: go on where the call was cut short, one call at a time."""
        effect = self._admitted(reply, now)
        self._prev = self._confirmed
        self._window = 1
        self._state = _State.PAUSED
        if reply.status == "full":
            self._full = (reply.queue, FullQueue(reply.depth, now))
        self._until = now + (reply.wait if reply.status == "rate" else POLL_INTERVAL)
        return effect._replace(rewind=True)

    def _retry(self, reply: Reply, call: _Call, now: float) -> Effect:
        """A gap, an error, or a lead that Redis does not know of: ask what it holds and who leads, and send the rest again."""
        code = reply.error.code if reply.error is not None else ""
        progress = reply.position is not None and reply.position > call.prev
        if reply.error is not None and code not in SERVER_CODES:
            self._count_refusal(call, reply.error, progress)
        events = self._outage.refused(reply.error, now) if reply.error is not None and code != "NOSCRIPT" else ()
        effect = self._join_later(now, close=code in SERVER_CODES and code != "NOSCRIPT")
        return effect._replace(commit=reply.position, events=events)

    def _count_refusal(self, call: _Call, error: BrokerRefused, progress: bool) -> None:
        if call.messages > 1 or progress:
            self._messages = 1  # one by one, to find the message that it is about
            self._refusals = 0
            return
        self._refusals += 1
        if self._refusals >= MOST_REFUSALS:
            self._refused = Reject(call.first, str(error))

    def _join_later(self, now: float, *, close: bool) -> Effect:
        self.retries += 1
        self._window = 1
        self._state = _State.JOINING
        self._until = now + self._backoff.next()
        return Effect(close=close)

    def _forgotten(self, held: int) -> tuple[QueueForgotten, GapFound]:
        told = QueueForgotten(telemetry_id=self._label, queue=self._queue, confirmed=self._confirmed, held=held)
        gap = GapFound(
            telemetry_id=self._label,
            feed=self._feed,
            cause="forgotten",
            from_us=self._since_us,
            to_us=wall_us(),
            producer=self._producer,
            last_seq=held,
            detail=f"Redis had confirmed number {self._confirmed} and knows of {held}: what waited in the queue is gone",
        )
        return told, gap
