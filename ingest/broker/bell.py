"""Tells a consumer at once that something was pushed to its queue: a ``BLMOVE queue queue LEFT LEFT`` that Redis holds back.

The rule: nothing is taken here. The head of the list moves to where it is, so whatever becomes of a call, no message can be lost
with it; and a wait ends early whenever its thread is wanted elsewhere, while the call stays with Redis.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Literal

import redis
from redis.connection import AbstractConnection

from ingest.broker.clients import descriptor
from ingest.clock import Monotonic, monotonic
from ingest.wakeup import Wakeup

#: What was heard: something is (or was) in the queue; nothing came for a whole call; nothing yet, the call is still out.
Heard = Literal["push", "quiet", "nothing"]


class Bell:
    """Listens to one list for one thread, on a connection that is opened when it is needed.

    Parameters:
      connect: makes a connection that is not yet connected.
      key: the list.
      seconds: how long Redis holds a call back at most.
      grace: how many seconds later its answer may come.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        key: str,
        seconds: float,
        grace: float,
        clock: Monotonic = monotonic,
    ) -> None:
        self._connect = connect
        self._key = key
        self._seconds = seconds
        self._grace = grace
        self._clock = clock
        self._connection: AbstractConnection | None = None
        self._answer_by: float | None = None

    def wait(self, timeout: float, wakeup: Wakeup) -> Heard:
        """Listen for at most ``timeout`` seconds, or until ``wakeup``, which is cleared.

        Raises redis-py's errors, after which the connection is closed; the next call opens another.
        """
        try:
            return self._listen(*self._call(), timeout, wakeup)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; Redis forgets the call that was out."""
        connection, self._connection = self._connection, None
        self._answer_by = None
        if connection is not None:
            connection.disconnect()

    def _call(self) -> tuple[AbstractConnection, float]:
        """Have a call out; return its connection, and by when it must have been answered."""
        if self._connection is None:
            self._connection = self._connect()
            self._connection.connect()
        if self._answer_by is None:
            self._connection.send_command("BLMOVE", self._key, self._key, "LEFT", "LEFT", f"{self._seconds:.3f}")
            self._answer_by = self._clock() + self._seconds + self._grace
        return self._connection, self._answer_by

    def _listen(self, connection: AbstractConnection, answer_by: float, timeout: float, wakeup: Wakeup) -> Heard:
        poller = select.poll()
        poller.register(descriptor(connection), select.POLLIN)
        poller.register(wakeup.fileno(), select.POLLIN)
        ready = [fd for fd, _ in poller.poll(max(0.0, min(timeout, answer_by - self._clock())) * 1000)]
        if wakeup.fileno() in ready:
            wakeup.clear()
        # Readable is not answered: TLS has records of its own.
        if descriptor(connection) in ready and connection.can_read(0):
            self._answer_by = None
            return "quiet" if connection.read_response() is None else "push"
        if self._clock() >= answer_by:
            raise redis.TimeoutError("no answer to BLMOVE")
        return "nothing"
