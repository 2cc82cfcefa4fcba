"""One queue as one worker process deals with it in Redis: commands, the bell, and the ledger of what is in hand.

The rule: it outlives the consumers that Dramatiq makes and throws away, so nothing that they had taken is forgotten with them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import cast

import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import current_millis, q_name

from ingest.broker.bell import Bell, Heard
from ingest.broker.clients import SOCKET_TIMEOUT, dedicated_connection
from ingest.broker.keys import Keys
from ingest.broker.ledger import Ledger
from ingest.broker.scripts import ACK, NACK, REQUEUE
from ingest.clock import monotonic
from ingest.wakeup import Wakeup

#: Seconds that a bell's call stays with Redis; after a quiet one the consumer shows that it lives.
CALL = 5.0

#: Seconds after a fetch without an answer until Redis is asked a second time what it gave: it may carry it out late.
_LOOK_AGAIN = 10.0

#: Seconds of polling after the bell's connection was lost, and after Redis would not have it.
_LOST, _REFUSED = 3.0, 60.0

_log = logging.getLogger(__name__)


class WorkerQueue:
    """The consumer's thread calls everything; `ledger`, `stop`, `could_not_return` and `strand` are for others as well.

    Parameters:
      queue: Dramatiq's name of the queue, which may be one of delayed messages (``.DQ``).
      wake: whether to listen for pushes.
      unreturned: ids of messages in hand, of any queue, that were to be enqueued again, and could not be.
    """

    def __init__(self, broker: RedisBroker, keys: Keys, queue: str, wake: bool, unreturned: set[str]) -> None:
        self._broker = broker
        self._unreturned = unreturned
        self._queue = queue
        self._shared = [keys.heartbeats(), keys.fetched(broker.broker_id, queue), keys.message_data(queue)]
        self._list = keys.messages(queue)
        canonical = q_name(queue)
        self._dead = [keys.dead_letters(canonical), keys.dead_letter_data(canonical)]
        self._ack, self._requeue, self._nack = (broker.client.register_script(script.source) for script in (ACK, REQUEUE, NACK))
        self.wakeup = Wakeup()
        self.ledger = Ledger(self._acknowledge, self.wakeup)
        call = min(CALL, broker.heartbeat_timeout / 4000)
        self._bell = Bell(partial(dedicated_connection, broker.client), self._list, call, SOCKET_TIMEOUT)
        self._deaf_until = 0.0 if wake else math.inf
        self._told = False
        self._fetched_at = monotonic()
        self.stopping = False
        self._stranded: dict[str, float] = {}
        self._looks: list[float] = []

    @property
    def listens(self) -> bool:
        """Tell whether pushes are listened for; else the queue has to be polled."""
        return monotonic() >= self._deaf_until

    @property
    def silence(self) -> float:
        """Return the seconds since the last `fetch`, which is also the sign of life."""
        return monotonic() - self._fetched_at

    def fetch(self, count: int, interval: float) -> list[bytes | None]:
        """Take up to ``count`` messages; with 0 only show that this worker lives.

        Dramatiq hangs its maintenance on every thousandth poll or so. It is as likely here as if there had been a poll every
        ``interval`` seconds since the last one.
        """
        broker = self._broker
        polls = min(max(1, round(self.silence / interval)), 100)
        maintain = any(broker._should_do_maintenance("fetch") for _ in range(polls))
        fixed = [current_millis(), self._queue, broker.broker_id, broker.heartbeat_timeout, broker.dead_message_ttl]
        arguments = ["fetch", *fixed, int(maintain), broker._max_unpack_size(), count]
        try:
            messages: list[bytes | None] = broker.scripts["dispatch"](keys=[broker.namespace], args=arguments)
        except (redis.ConnectionError, redis.TimeoutError):
            self._looks = [0.0, monotonic() + _LOOK_AGAIN]
            raise
        self._fetched_at = monotonic()
        return messages

    def nack(self, ident: str, data: bytes | None = None) -> None:
        """Make a message a dead letter, as it is in Redis or with ``data`` in its place."""
        if data is None:
            self._broker.do_nack(self._queue, ident)
        else:
            self._nack(keys=[*self._shared, *self._dead], args=[current_millis(), str(self._broker.broker_id), ident, data])

    def requeue(self, idents: Sequence[str]) -> None:
        """Put messages back to the head of the queue, in this order."""
        self._run(self._requeue, [*self._shared, self._list], idents)
        for ident in idents:
            self._stranded.pop(ident, None)
            self.ledger.drop(ident)

    def could_not_return(self, ident: str) -> bool:
        """Tell, once, whether a message in hand was to be enqueued again, and could not be."""
        if ident not in self._unreturned:
            return False
        self._unreturned.discard(ident)
        return True

    def strand(self, ident: str, seconds: float) -> None:
        """Have a message in hand put back in so many seconds, because nobody has it any more."""
        self._stranded[ident] = monotonic() + seconds
        self.wakeup.set()

    @property
    def stranded(self) -> list[str]:
        """Return what is to be put back, now or later."""
        return list(self._stranded)

    @property
    def go_back_at(self) -> float:
        """Return when `collect` is to be called, on the monotonic clock; infinity if there is nothing to be put back."""
        return min([*list(self._stranded.values()), *self._looks[:1]], default=math.inf)

    def collect(self) -> list[str]:
        """Return what is to be put back by now, also what Redis gave to this worker in an answer that never came."""
        if self._looks and self._looks[0] <= monotonic():
            given = {str(ident, "utf-8") for ident in cast("set[bytes]", self._broker.client.smembers(self._shared[1]))}
            del self._looks[0]
            for ident in sorted(given - self.ledger.known()):
                self.strand(ident, 0)
        now = monotonic()
        return [ident for ident, due in list(self._stranded.items()) if due <= now]

    def _acknowledge(self, idents: Sequence[str]) -> None:
        self._run(self._ack, self._shared, idents)

    def _run(self, script: redis.commands.core.Script, keys: list[str], idents: Sequence[str]) -> None:
        script(keys=keys, args=[current_millis(), self._broker.broker_id, *idents])

    def listen(self, timeout: float) -> Heard:
        """Wait for a push, at most ``timeout`` seconds or until ``wakeup``.

        Whatever ails the bell, only the waiting suffers: "push" makes one look, and for a while `listens` is false.
        """
        try:
            heard = self._bell.wait(timeout, self.wakeup)
        except redis.RedisError as error:
            self._deafen(error)
            return "push"
        self._told = self._told and heard == "nothing"
        return heard

    def _deafen(self, error: redis.RedisError) -> None:
        refused = isinstance(error, redis.ResponseError) or "max number of clients" in str(error)
        self._deaf_until = monotonic() + (_REFUSED if refused else _LOST)
        if not self._told:
            _log.warning("Queue %s is polled, because waiting for its messages failed: %s", self._queue, error)
        self._told = True

    def stop(self) -> None:
        """Have the consumer take nothing more; its thread goes on showing that this worker lives."""
        self.stopping = True
        self.wakeup.set()

    def hang_up(self) -> None:
        """Close the bell's connection until `listen` is called again."""
        self._bell.close()

    def close(self) -> None:
        """Close the connection and the wake-up for good."""
        self._bell.close()
        self.wakeup.close()
