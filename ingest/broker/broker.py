"""The Dramatiq broker that supervisors and workers share.

The rule: it is a Dramatiq broker like any other. What it adds is `line`: a publisher's own way into the queues, a batch per
round trip, within each queue's `Limits`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast

import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware

from ingest.broker.clients import dedicated_connection, make_client
from ingest.broker.consumer import RedisConsumer
from ingest.broker.hooks import EnqueueHooks, enqueue_hooks
from ingest.broker.keys import Keys
from ingest.broker.limits import Limits
from ingest.broker.line import Connection, Line


class RateLimitedBroker(RedisBroker):
    """A Redis broker whose queues have an end.

    ``enqueue`` and ``actor.send`` are Dramatiq's own, and not limited.

    Parameters:
      url: ``redis://``, ``rediss://`` or ``unix://``; or give a ``client``, whose connection options are then used.
      verify, ca_file: how the certificate of a ``rediss://`` server is checked.
      max_connections: how many connections may be open at once, those of lines not counted.
      queues: the limits of queues by name; ``limits`` are those of all others.
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
        **options: Any,
    ) -> None:
        if (url is None) == (client is None):
            raise ValueError("give either a url or a client")
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

    @property
    def consumer_class(self) -> type[RedisConsumer]:
        return RedisConsumer

    def limits(self, queue: str) -> Limits:
        """Return the limits of a queue."""
        return self._limits_by_queue.get(queue, self._limits_of_others)

    def line(self, feed: str, group: str = "") -> Line:
        """Return a line for one feed's publisher, with a connection of its own that is opened when it joins."""
        connect = cast("type[Connection]", partial(dedicated_connection, self.client))
        return Line(connect, self.keys, feed, group, self.limits)

    def enqueue_hooks(self) -> EnqueueHooks:
        """Return what this broker's middleware wants called around every message that goes through a line."""
        return enqueue_hooks(self)

    def close(self) -> None:
        """Close the connections that are ours."""
        super().close()
        if self._owns_client:
            self.client.connection_pool.disconnect()
