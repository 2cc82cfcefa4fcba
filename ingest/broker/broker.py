"""The Dramatiq broker that supervisors and workers share.

The rule: it is a Dramatiq broker like any other, whose queues have an end. What it adds is `line`: a publisher's own way into the
queues, a batch per round trip, within each queue's `Limits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from threading import TIMEOUT_MAX
from typing import Any, cast
from uuid import uuid4

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import q_name
from dramatiq.middleware import Middleware
from dramatiq.worker import QUEUE_PREFETCH

from ingest.broker.clients import dedicated_connection, make_client
from ingest.broker.consumer import RedisConsumer
from ingest.broker.hooks import EnqueueHooks, enqueue_hooks
from ingest.broker.keys import Keys
from ingest.broker.lease import Terms
from ingest.broker.lending import Connection, Lender
from ingest.broker.limits import Limits
from ingest.broker.line import Line
from ingest.broker.plain import PlainLine
from ingest.broker.window import Window
from ingest.broker.worker_process import is_worker_process, worker_begins, worker_ended
from ingest.broker.worker_queue import WorkerQueue
from ingest.events import GapFound


class RateLimitedBroker(RedisBroker):
    """A Redis broker whose queues have an end.

    ``enqueue`` and ``actor.send`` obey a queue's `Limits` as well: they wait for room and for the rate, and then raise Dramatiq's
    ``RateLimitExceeded``. What a full queue must not swallow passes at once: retries and whatever else was in a queue before
    (it carries ``redis_message_id``), anything with a ``delay``, and everything that is sent inside a worker process.

    Parameters:
      url: ``redis://``, ``rediss://`` or ``unix://``; or give a ``client``, whose connection options are then used.
      verify, ca_file: how the certificate of a ``rediss://`` server is checked.
      max_connections: how many connections may be open at once, and how many beside them for lines, which share those.
      queues: the limits of queues by name; ``limits`` are those of all others.
      enqueue_timeout: seconds that ``enqueue`` and ``actor.send`` wait at most; 0 to try once.
      wake: whether workers wait for messages on a connection of their own for each queue, instead of polling.
      options: what `dramatiq.brokers.redis.RedisBroker` takes besides.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        client: redis.Redis | None = None,
        namespace: str = "dramatiq",
        middleware: Iterable[Middleware] | None = None,
        verify: bool = True,
        ca_file: str | None = None,
        max_connections: int = 4,
        queues: Mapping[str, Limits] | None = None,
        limits: Limits | None = None,
        enqueue_timeout: float = 10.0,
        wake: bool = True,
        **options: Any,
    ) -> None:
        if (url is None) == (client is None):
            raise ValueError("give either a url or a client")
        if not 0 <= enqueue_timeout <= TIMEOUT_MAX:
            raise ValueError(f"enqueue_timeout ({enqueue_timeout:g}) must be a number of seconds, 0 or more")
        self._owns_client = client is None
        if client is None:
            client = make_client(cast(str, url), verify=verify, ca_file=ca_file, max_connections=max_connections)
        super().__init__(
            client=client,
            namespace=namespace,
            middleware=None if middleware is None else list(middleware),
            **options,
        )
        self.keys = Keys(namespace)
        self._limits_by_queue = dict(queues or {})
        self._limits_of_others = limits or Limits()
        self._plain = PlainLine(client, self.keys, self.limits, enqueue_timeout)
        self._lender = Lender(cast("type[Connection]", partial(dedicated_connection, client)), max_connections)
        self._wake = wake
        self._grows = False
        self._consumed: dict[str, WorkerQueue] = {}
        #: By what name Redis knows the messages in hand that were to be enqueued again, and could not be.
        self._unreturned: set[str] = set()

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> RedisConsumer:
        """Return a consumer for a queue; Dramatiq's worker makes one for each, and another after every error."""
        delayed = queue_name != q_name(queue_name)
        queue = self._consumed.get(queue_name)
        if queue is None:
            # What is delayed waits in the worker for its time anyhow: a connection more would make nothing faster.
            queue = WorkerQueue(self, self.keys, queue_name, self._wake and not delayed, self._unreturned)
            self._consumed[queue_name] = queue
        window = Window(prefetch) if self._grows and not delayed else Window(prefetch, most=prefetch)
        return RedisConsumer(queue, window, timeout)

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Enqueue a message as Dramatiq does, within the limits of its queue where they are for it.

        Raises ``RateLimitExceeded`` after ``enqueue_timeout`` seconds without room; then the message is in no queue. After an
        error of the connection (a reply that was lost, say) it may be in its queue, once: nothing is sent a second time.
        """
        if delay is not None or "redis_message_id" in message.options or is_worker_process():
            return self._enqueue_now(message, delay)
        queue, name = message.queue_name, str(uuid4())
        message = message.copy(options={"redis_message_id": name})
        self.logger.debug("Enqueueing message %r on queue %r.", message.message_id, queue)
        self.emit_before("enqueue", message, None)
        self._plain.enqueue(queue, name.encode(), message.encode())
        self.emit_after("enqueue", message, None)
        return message

    def _enqueue_now(self, message: dramatiq.Message[Any], delay: int | None) -> dramatiq.Message[Any]:
        """Enqueue a message whatever its queue's limits are; for one that was in a queue before, take note if that fails."""
        before = message.options.get("redis_message_id")
        try:
            enqueued = super().enqueue(message, delay=delay)
        except redis.RedisError:
            if before is not None:
                self._unreturned.add(before)
            raise
        self._unreturned.discard(before)
        return enqueued

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        if signal == "worker_boot":
            worker_begins(args[0])
            self._boot()
        super().emit_before(signal, *args, **kwargs)
        if signal == "worker_shutdown":
            for queue in self._consumed.values():
                queue.stop()

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        super().emit_after(signal, *args, **kwargs)
        if signal == "worker_shutdown":
            worker_ended(args[0])

    def _boot(self) -> None:
        # A number of the user's is meant as it stands; and who consumes without a worker gets what was asked for.
        self._grows = QUEUE_PREFETCH == 0
        for queue in self._consumed.values():
            queue.stopping = False

    def limits(self, queue: str) -> Limits:
        """Return the limits of a queue."""
        return self._limits_by_queue.get(queue, self._limits_of_others)

    def set_limits(self, queues: Mapping[str, Limits]) -> None:
        """Let these queues have other limits from the next call on; all others keep theirs."""
        self._limits_by_queue = {**self._limits_by_queue, **queues}

    def line(
        self,
        feed: str,
        group: str = "",
        terms: Terms | None = None,
        gap_arguments: Callable[[GapFound], Sequence[bytes]] | None = None,
    ) -> Line:
        """Return a line for one feed's publisher, which borrows a connection from those for lines while it needs one."""
        return Line(self._lender.borrower(), self.keys, feed, group, self.limits, terms, gap_arguments)

    def enqueue_hooks(self) -> EnqueueHooks:
        """Return what this broker's middleware wants called around every message that goes through a line."""
        return enqueue_hooks(self)

    def close(self) -> None:
        """End every wait for room, and close the connections that are ours."""
        self._plain.close()
        super().close()
        for queue in list(self._consumed.values()):
            queue.close()
        self._consumed.clear()
        self._lender.close()
        if self._owns_client:
            self.client.connection_pool.disconnect()
