"""Moves a feed's backlog into its queues: the body of the publish thread.

The rule: it decides nothing (`ingest.delivery.core` does); it carries out, and no failure ends it without somebody being told.

It is long because it is one loop: whatever carries out an action may also meet a stop, a lost lead or a line that is lent away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf

from ingest.clock import Deadline, Monotonic, monotonic
from ingest.delivery.backlog import Backlog, Chain
from ingest.delivery.core import PublisherCore
from ingest.delivery.entry import payloads_in
from ingest.delivery.ports import Lead, Line
from ingest.delivery.steps import Action, Effect, Idle, Join, Poll, Receive, Record, Reject, Send, Wait
from ingest.errors import BrokerRefused, BrokerTimedOut, BrokerUnreachable
from ingest.events import Publish
from ingest.measures import Histogram, Pulse

#: A stop is noticed within so many seconds, also while Redis owes a reply.
_SLICE = 0.1

#: Nothing happens without a wake-up, so this only bounds what a missed one could cost.
_LONGEST_IDLE = 60.0

#: Seconds that a feed waits at its end for a connection to take its leave on.
_LEAVE = 1.0


class Publisher:
    """Publishes a backlog, chain by chain and in order, until told to stop.

    Parameters:
      mark_late: what to make of the bytes of a message that comes late; None: late messages are given up.
      spools: whether what cannot be published at the end can be kept on disk.
      after: called with the bytes of every message that is in its queue, or None.
      flush: brings payloads that have waited long enough for others into the backlog, and returns the seconds until it is to be
        called again; None: nothing waits so. Here and not where they are read, because only this thread never waits for anybody
        but Redis, without which they could not leave anyway.
    """

    def __init__(
        self,
        backlog: Backlog,
        line: Line,
        core: PublisherCore,
        lead: Lead,
        *,
        publish: Publish,
        mark_late: Callable[[bytes], bytes] | None = None,
        spools: bool = False,
        after: Callable[[bytes], None] | None = None,
        flush: Callable[[], float] | None = None,
        clock: Monotonic = monotonic,
    ) -> None:
        self._backlog = backlog
        self._line = line
        self._core = core
        self._lead = lead
        self._publish = publish
        self._mark_late = mark_late
        self._spools = spools
        self._after = after
        self._flush = flush
        self._idle = _LONGEST_IDLE  # how long we may sleep
        self._slice = _LONGEST_IDLE if flush is None else _SLICE
        self._clock = clock
        self._chain: Chain | None = None
        self._leader = ""  # whose lease the calls name; "" for late messages, which need none
        self._enqueued = 0
        self._messages = 0
        self._end: float | None = None  # when to be over, once that is known
        self._doubted = False
        self._heard_at = -inf  # when Redis answered somebody else of this process
        self._woken = threading.Event()
        #: Whether the thread still turns.
        self.pulse = Pulse(clock)

    @property
    def enqueued(self) -> int:
        """Payloads that Redis has confirmed."""
        return self._enqueued

    @property
    def messages(self) -> int:
        """Messages that Redis has confirmed: with batches, fewer than payloads."""
        return self._messages

    @property
    def retries(self) -> int:
        """How often something had to be tried again."""
        return self._core.retries

    @property
    def call_seconds(self) -> Histogram:
        """How long it took Redis to answer a batch."""
        return self._core.call_seconds

    @property
    def call_messages(self) -> Histogram:
        """How many messages were in a batch."""
        return self._core.call_messages

    @property
    def confirmed(self) -> int:
        """The number up to which Redis has everything of the producer whose turn it is."""
        return self._core.confirmed

    def run(self) -> None:
        """Publish until `stop`, or until a `drain` is through; close the line.

        Whatever is raised is a fault of ours, for the caller to report; after `crashed` it may be run again.
        """
        try:
            while not self._is_over():
                self._step()
            self._take_leave()
        finally:
            self.pulse.rest()
            self._line.close()

    def crashed(self) -> None:
        """Take that `run` was ended by a fault: the next one begins by asking Redis how far it came."""
        self._core.begin(self._clock())

    def doubt(self) -> None:
        """Ask Redis anew what it holds: somebody has seen that it knows less than it confirmed."""
        self._doubted = True
        self._wake()

    def hear(self) -> None:
        """Take that Redis has just answered somebody else: a line that has waited for long is dead, and need not time out."""
        self._heard_at = self._clock()

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
        self._wake()

    def _wake(self) -> None:
        self._woken.set()
        self._backlog.wake()

    def _is_over(self) -> bool:
        if self._end is None:
            return False
        if self._clock() >= self._end or len(self._backlog) == 0:
            return True
        chain = self._backlog.first
        stands_by = chain is not None and self._authority(chain) is None
        return stands_by or (self._spools and self._core.away)

    def _authority(self, chain: Chain) -> str | None:
        """Return whose lease a chain's calls name: none ("") if it is late; None if we have to wait for one."""
        return "" if chain.late else self._lead.leader or None

    def _step(self) -> None:
        self.pulse.beat()
        self._backlog.tidy()
        if self._flush is not None:
            self._idle = min(_LONGEST_IDLE, self._flush())
        chain = self._backlog.first
        leader = self._authority(chain) if chain is not None else None
        if chain is None or leader is None:
            self._let_go()
            self._backlog.wait(self._idle, for_messages=False)
            return
        self._follow(chain, leader)
        try:
            effect = self._advance(chain)
        except (BrokerUnreachable, BrokerRefused) as error:
            effect = self._core.failed(error, self._clock())
        self._apply(chain, effect)

    def _let_go(self) -> None:
        """Hold no connection while we may not publish: others need it."""
        if self._core.under_way:
            self._line.close()
            self._core.begin(self._clock())
        else:
            self._line.rest()

    def _follow(self, chain: Chain, leader: str) -> None:
        """Turn to a chain if it is not the one at work, or not under the same lease; nothing of another may be under way."""
        if self._doubted and leader:  # of what is late nothing is doubted, and its turn must not be put off by it
            self._doubted = False
            self._line.close()
            self._core.begin(self._clock())
        if chain is self._chain and leader == self._leader:
            return
        if self._core.under_way:
            self._line.close()  # those calls are void once the next join has set a fresh nonce
        self._tell_gap()
        self._chain, self._leader = chain, leader
        self._core.follow(chain, self._clock())

    def _advance(self, chain: Chain) -> Effect:
        yields = self._line.overstays
        if self._core.settled:
            if yields:
                self._line.rest()
                yields = False
            if chain.late and self._mark_late is None and not chain.is_empty:
                self._backlog.discard(chain, "fenced")
                return Effect()
            if chain.is_empty and not chain.open:
                return self._finish(chain) if self._has_line() else Effect()
        return self._carry_out(chain, self._core.next(self._clock(), chain.has_waiting and not yields))

    def _has_line(self) -> bool:
        """Tell whether a call can be made; if the connections are lent to others, wait for one first."""
        if self._line.acquire(self._woken.set):
            return True
        self._pause(self._clock() + _LONGEST_IDLE)
        return False

    def _carry_out(self, chain: Chain, action: Action) -> Effect:
        match action:
            case Idle():
                self._line.rest()
                self._backlog.wait(self._idle)
            case Wait(until):
                self._line.rest()
                self._pause(until)
            case Reject(seq, detail):
                told = self._core.rejected(seq, detail)
                if self._backlog.reject(chain, seq, detail):
                    self._publish(told)
            case _ if self._has_line():
                return self._call(chain, action)
        return Effect()

    def _call(self, chain: Chain, action: Action) -> Effect:
        match action:
            case Send(messages, size):
                self._send(chain, messages, size)
            case Receive(until):
                reply = self._line.reply(max(0.0, min(_SLICE, self._idle, until - self._clock())))
                if reply is not None:
                    return self._core.replied(reply, self._clock())
                now = self._clock()
                if now >= until or (self._core.is_passed_over(now, self._heard_at) and not self._line.is_moving()):
                    raise BrokerTimedOut("no reply to a batch")
            case Poll(queue):
                return self._core.polled(self._line.depth(queue), self._clock())
            case Join(base):
                return self._core.joined(self._line.join(chain.producer, base, self._leader), self._clock())
            case Record(gap):
                self._line.record(gap)
                self._tell_gap()
        return Effect()

    def _send(self, chain: Chain, messages: int, size: int) -> None:
        entries = self._backlog.take(chain, messages, size)
        if not entries:
            return  # what an earlier process left was already in Redis
        last = entries[-1].last
        prev = self._core.sent(entries[0].seq, last, len(entries), self._clock())
        if chain.late and self._mark_late is not None:
            entries = [entry._replace(data=self._mark_late(entry.data)) for entry in entries]
        self._line.enqueue_batch(chain.producer, prev, last, entries, self._leader)

    def _pause(self, until: float) -> None:
        if self._end is not None:
            until = min(until, self._end)
        self._woken.wait(max(0.0, min(self._slice, self._idle, until - self._clock())))
        self._woken.clear()

    def _apply(self, chain: Chain, effect: Effect) -> None:
        if effect.close:
            self._line.close()
        for event in effect.events:
            self._publish(event)
        if effect.commit is not None:
            committed = self._backlog.commit(chain, effect.commit)
            self._enqueued += payloads_in(committed)
            self._messages += len(committed)
            if self._after is not None:
                for entry in committed:
                    self._after(entry.data)
        if effect.rewind:
            self._backlog.rewind(chain)
        if effect.fenced:
            self._lead.fenced(self._leader)

    def _finish(self, chain: Chain) -> Effect:
        """Take leave of a producer that has nothing more to send, and turn to the next."""
        effect = Effect()
        # The disk first: what it still had after a kill would be sent again to a Redis that no more knows how far it came.
        if self._backlog.clear(chain):
            # To ask again could find it forgotten at our own word; in time Redis forgets it by itself.
            with suppress(BrokerUnreachable, BrokerRefused):
                effect = self._core.left(self._line.done(chain.producer))
        self._backlog.finish(chain)
        self._chain = None
        return effect

    def _tell_gap(self) -> None:
        """Tell what Redis forgot; whoever hears of it records it as well, where we have not come to that."""
        gap = self._core.recorded()
        if gap is not None:
            self._publish(gap)

    def _take_leave(self) -> None:
        self._tell_gap()
        chain = self._chain
        if chain is not None and chain.is_empty and self._core.settled:
            end = self._clock() + _LEAVE
            while not self._line.acquire(self._woken.set) and self._clock() < end:
                self._woken.wait(end - self._clock())
                self._woken.clear()
            self._apply(chain, self._finish(chain))
