"""The consumer of our broker: hears at once that something was enqueued, and tells Redis in batches what is done.

The rule: each step waits in one place only, where a push, a message that is done and the end of the worker all wake it; and
whatever goes wrong between a worker and Redis is a `ConnectionClosed`, after which Dramatiq reconnects: redis-py's
``TimeoutError`` is no ``ConnectionError``, so it would close more than it must, and in ``requeue`` end a shutdown half-way.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from traceback import format_exception

import dramatiq
import redis
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.common import compute_backoff
from dramatiq.errors import ConnectionClosed, DecodeError

from ingest.broker.window import Window
from ingest.broker.worker_queue import WorkerQueue
from ingest.clock import monotonic

#: Seconds between two looks at whether the worker's threads have ended, once it stops.
_STOPPING = 0.05

#: Dramatiq's polls of an idle queue are so many of its time-outs apart, on average.
_POLLS = 0.75

#: Milliseconds that the first rest after a miss takes, each further one being twice as long: Dramatiq's own where the queue is
#: polled, and more where one push is heard by all who listen: those who rest cost Redis nothing, and others hear it meanwhile.
_POLLED, _HEARD = 5, 20

#: Seconds until a message goes back whose retry could not be enqueued: its actor is not to run as fast as Redis refuses.
_GO_BACK = 1.0

#: The option that holds the name by which Redis knows a message; Dramatiq gives one to each that is enqueued.
_IDENT = "redis_message_id"

_log = logging.getLogger(__name__)


class RedisConsumer(Consumer):
    """Fetches from one queue for a worker.

    Parameters:
      queue: the queue, which outlives its consumers.
      window: how many messages may be in hand.
      timeout: milliseconds that a call waits at most.
    """

    def __init__(self, queue: WorkerQueue, window: Window, timeout: int) -> None:
        self._queue = queue
        self._ledger = queue.ledger
        self._window = window
        self._timeout = timeout
        self._cache: deque[bytes | None] = deque()
        self._misses = 0
        self._rest_until = 0.0
        self._may_have_more = True
        # Dramatiq forgets those after an error, and nobody would look after them while this process lives.
        for ident in queue.ledger.delayed():
            queue.strand(ident, 0)

    def __next__(self) -> MessageProxy | None:
        message = self._take()
        if message is None:
            with _unanswered_is_closed():
                self._step()
            message = self._take()
        return message

    def ack(self, message: MessageProxy) -> None:
        """Take note that a message is done; Redis is told within `ingest.broker.ledger.LONGEST_AGE`.

        A message that failed, and whose retry Redis did not take, is not: Dramatiq would lose it here.
        """
        ident = message.options[_IDENT]
        if self._queue.could_not_return(ident):
            _log.warning("Message %s could not be enqueued again. It goes back to the head of its queue.", message.message_id)
            self._queue.strand(ident, _GO_BACK)
        else:
            self._ledger.settle(ident)

    def nack(self, message: MessageProxy) -> None:
        """Make a message a dead letter, at once, and with what it died of."""
        ident = message.options[_IDENT]
        self._queue.could_not_return(ident)  # forgotten: it does not come again
        try:
            with _unanswered_is_closed():
                self._queue.nack(ident, _last_words(message))
        except ConnectionClosed:
            raise  # Dramatiq tries again
        except redis.RedisError:
            self._ledger.drop(ident)  # and now does not
            raise
        self._ledger.drop(ident)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put messages back to the head of the queue in the order in which they were fetched, then what no worker saw."""
        stranded = self._queue.stranded
        idents = self._ledger.in_order([*(message.options[_IDENT] for message in messages), *stranded])
        self._give_back(list(dict.fromkeys(idents)) + self._unseen())

    def close(self) -> None:
        """Tell Redis what is done, and let go of the connection."""
        self._ledger.flush()
        self._queue.hang_up()

    def _take(self) -> MessageProxy | None:
        while self._cache:
            data = self._cache.popleft()
            if data is not None:  # its id was in the queue, but it was not: deleted by hand, or expired
                message = dramatiq.Message.decode(data)
                if _IDENT in message.options:
                    self._ledger.hold(message.options[_IDENT], "eta" in message.options)
                return MessageProxy(message)
        return None

    def _step(self) -> None:
        """Do the one thing that is to be done now, or wait."""
        if self._ledger.remaining() <= 0:
            self._ledger.flush()
        if self._queue.stopping:
            self._only_live()
        elif self._queue.go_back_at <= monotonic():
            self._give_back(self._ledger.in_order(self._queue.collect()))
        elif (rest := self._rest_until - monotonic()) > 0:
            self._pause(rest)
        elif self._ledger.held >= self._window.size:
            self._ledger.call_at(self._window.refill_at)
            self._pause(self._timeout / 1000)
        elif self._may_have_more or not self._queue.listens:
            self._fetch()
        else:
            self._listen()

    def _fetch(self) -> None:
        asked = self._window.size - self._ledger.held
        self._cache.extend(self._queue.fetch(asked, self._poll_interval))
        self._may_have_more = len(self._cache) >= asked
        self._window.fetched(self._may_have_more, monotonic())
        if self._cache:
            self._misses = 0
        else:
            first = _HEARD if self._queue.listens else _POLLED
            self._misses, backoff_ms = compute_backoff(self._misses, factor=first, max_backoff=self._timeout)
            self._rest_until = monotonic() + backoff_ms / 1000

    def _listen(self) -> None:
        """Wait for a push; many may hear the same one, so who then finds nothing rests as long as a poll would."""
        heard = self._queue.listen(self._span(self._timeout / 1000))
        if heard == "push":
            self._may_have_more = True
        elif heard == "quiet":
            self._misses = 0
            self._queue.fetch(0, self._poll_interval)

    def _only_live(self) -> None:
        """While the worker's threads finish, take nothing more, but go on showing that this worker lives."""
        self._queue.hang_up()
        if self._queue.silence >= self._timeout / 1000:
            self._queue.fetch(0, self._poll_interval)
        self._pause(_STOPPING)

    def _pause(self, seconds: float) -> None:
        self._queue.wakeup.wait(self._span(seconds))

    def _span(self, seconds: float) -> float:
        return max(0.0, min(seconds, self._ledger.remaining(), self._queue.go_back_at - monotonic()))

    @property
    def _poll_interval(self) -> float:
        return _POLLS * self._timeout / 1000

    def _unseen(self) -> list[str]:
        """Empty the cache, and return the ids of what was in it."""
        idents = []
        while self._cache:
            data = self._cache.popleft()
            try:
                options = {} if data is None else dramatiq.Message.decode(data).options
            except DecodeError:
                continue
            if _IDENT in options:
                idents.append(options[_IDENT])
        return idents

    def _give_back(self, idents: list[str]) -> None:
        if idents:
            try:
                self._queue.requeue(idents)
            except redis.RedisError as error:
                raise ConnectionClosed(error) from None


def _last_words(message: MessageProxy) -> bytes | None:
    """Return the message with what it died of; None where nobody knows, or the encoder does not take it."""
    try:
        if "traceback" in message.options:
            # `Retries` has counted the try that failed as if another were to follow.
            told: dict[str, object] = {"retries": max(0, message.options.get("retries", 1) - 1)}
        elif message._exception is not None:  # no actor of that name, too old, one that it ``throws``: not tried again
            told = {"traceback": "".join(format_exception(message._exception, limit=30))}
        else:
            return None
        data: bytes = message.copy(options=told).encode()
    except Exception:  # noqa: BLE001 - a middleware may have left anything in its options
        return None
    return data


@contextmanager
def _unanswered_is_closed() -> Iterator[None]:
    try:
        yield
    except (redis.TimeoutError, redis.ConnectionError) as error:
        raise ConnectionClosed(error) from None
