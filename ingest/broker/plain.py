"""The way of single messages into a queue: ``enqueue`` and ``actor.send`` outside worker processes.

The rule: nothing is sent twice but what Redis has answered without taking it (no room, no tokens, an unknown script); errors are
the library's own, as Dramatiq's broker lets them through.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import redis
from dramatiq.errors import RateLimitExceeded
from redis.exceptions import NoScriptError

from ingest.broker.clients import library_error
from ingest.broker.keys import Keys
from ingest.broker.limits import Limits
from ingest.broker.packing import BatchPacker, Position
from ingest.broker.scripts import ENQUEUE
from ingest.clock import Deadline

#: Seconds between two looks at the depth of a full queue, at least and at most.
POLL_INTERVAL = (0.05, 0.1)

#: No position in any producer's chain (enqueue.lua).
_NO_CHAIN = Position("", "", "", 0, 0)


class _Message(NamedTuple):
    queue: str
    id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class _Held:
    """Why a message was not taken; ``wait`` is seconds."""

    status: Literal["full", "rate"]
    depth: int
    wait: float


class PlainLine:
    """Enqueues single messages within their queues' limits; safe to use from any thread.

    Parameters:
      limits: the limits of a queue by its name.
      timeout: seconds that a message waits for room and for the rate.
    """

    def __init__(self, client: redis.Redis, keys: Keys, limits: Callable[[str], Limits], timeout: float) -> None:
        self._client = client
        self._keys = keys
        self._limits = limits
        self._timeout = timeout
        self._packers: dict[str, BatchPacker] = {}
        self._turns: dict[str, threading.Lock] = {}
        self._closing = threading.Event()

    def enqueue(self, queue: str, id: bytes, data: bytes) -> None:  # noqa: A002 - the message's own word
        """Put a message into its queue; ``RateLimitExceeded`` if there is no room for it in time."""
        deadline = Deadline(self._timeout)
        packed = self._pack(_Message(queue, id, data))
        held = self._try(packed)
        if held is None:
            return
        # Those who wait stand in line, so that a queue has one process's one thread looking at it, not all of them.
        turn = self._turns.setdefault(queue, threading.Lock())
        if not turn.acquire(timeout=deadline.remaining()):
            raise self._exceeded(queue, held, deadline)
        try:
            self._wait(queue, packed, held, deadline)
        finally:
            turn.release()

    def close(self) -> None:
        """End every wait."""
        self._closing.set()

    def _wait(self, queue: str, packed: bytes, held: _Held | None, deadline: Deadline) -> None:
        while held is not None:
            if deadline.expired:
                raise self._exceeded(queue, held, deadline)
            if held.status == "rate":
                self._pause(held.wait, deadline)
            else:
                self._wait_for_room(queue, deadline)
            if self._closing.is_set():
                raise self._exceeded(queue, held, deadline)
            held = self._try(packed)

    def _wait_for_room(self, queue: str, deadline: Deadline) -> None:
        # The message itself may be large: only the depth is asked for.
        while not self._closing.is_set() and self._depth(queue) >= self._limits(queue).high:
            if deadline.expired:
                return
            self._pause(random.uniform(*POLL_INTERVAL), deadline)

    def _depth(self, queue: str) -> int:
        try:
            return self._client.llen(self._keys.messages(queue))
        except Exception:
            if self._closing.is_set():  # cut under our hands: the library then raises whatever it stumbles over
                return 0
            raise

    def _pause(self, seconds: float, deadline: Deadline) -> None:
        self._closing.wait(min(seconds, deadline.remaining()))

    def _exceeded(self, queue: str, held: _Held, deadline: Deadline) -> RateLimitExceeded:
        limits = self._limits(queue)
        why = (
            f"is full: {held.depth} messages wait, {limits.high} is its high watermark"
            if held.status == "full"
            else f"takes {limits.rate:g} messages a second"
        )
        return RateLimitExceeded(f"queue {queue} {why}; waited {deadline.seconds - deadline.remaining():.3g} s")

    def _pack(self, message: _Message) -> bytes:
        queue = message.queue
        packer = self._packers.get(queue)
        if packer is None:
            # The script does not look at its first key here; so it is none for which whoever only sends would need a right.
            packer = BatchPacker(ENQUEUE.digest, self._keys.messages(queue), self._keys, self._limits)
            self._packers[queue] = packer
        return packer.pack(_NO_CHAIN, (queue,), [message])

    def _try(self, packed: bytes) -> _Held | None:
        """Send a message once; return why it was not taken, or None if it was."""
        try:
            reply = self._call(packed)
        except NoScriptError:  # so nothing was done: restarted, or flushed
            self._client.script_load(ENQUEUE.source)
            reply = self._call(packed)
        status, _, depth, wait_ms, detail, _ = reply
        if status == b"error":
            raise library_error(detail.decode(errors="replace"))
        return None if status == b"ok" else _Held("full" if status == b"full" else "rate", depth, wait_ms / 1000)

    def _call(self, packed: bytes) -> list[Any]:
        """Send one command, below the client's retries, of which a client of the user's may make many."""
        pool = self._client.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command([packed])
            reply: list[Any] = connection.read_response(disable_decoding=True)
            if reply[0] == b"error":
                connection.disconnect()  # a server that became a replica, say: what is behind the name may be another by now
        except redis.ResponseError:
            raise  # an answer: the connection is as good as before
        except BaseException as error:
            connection.disconnect()  # its reply may come yet, and would be taken for another's
            if self._closing.is_set() and isinstance(error, Exception):
                raise redis.ConnectionError("the broker was closed meanwhile") from error
            raise
        finally:
            pool.release(connection)
        return reply
