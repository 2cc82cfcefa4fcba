"""One publisher's way to Redis: calls go out in order, their replies come back in order.

The rule: any error or time-out closes the line, and a line that was closed sends nothing until it has joined again; so a call
whose fate is unknown can only ever be one that the fresh nonce of that join has made void. Once every reply has come, a line can
do without a connection (`Line.rest`) and go on over another: no call is under way then whose fate a nonce would have to decide.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import redis

from ingest.broker.clients import refusal, translate
from ingest.broker.gaps import record_arguments
from ingest.broker.keys import FORMAT, Keys
from ingest.broker.lease import Bid, Terms, take_arguments
from ingest.broker.lending import Borrower, Connection
from ingest.broker.limits import Limits
from ingest.broker.packing import BatchPacker, Message, Position, command, queues_of
from ingest.broker.scripts import ENQUEUE, LEASE
from ingest.errors import BrokerRefused, BrokerUnreachable
from ingest.events import GapFound

Status = Literal["ok", "full", "rate", "error", "gap", "fenced"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a batch (see enqueue.lua); ``position`` is None where Redis told none, ``wait`` is in seconds."""

    status: Status
    position: int | None = None
    queue: str = ""
    depth: int = 0
    wait: float = 0.0
    error: BrokerRefused | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """What a join found; ``position`` is None where Redis does not know the producer, or somebody else leads (``fenced``).

    ``epoch`` is the number of acquisitions that Redis knows of; None where it was not told.
    """

    position: int | None
    fenced: bool = False
    epoch: int | None = None


class Line:
    """A feed's way into its queues.

    Parameters:
      borrower: lends a connection while there is something to send or a reply to come.
      limits: the limits of a queue by its name; asked once per queue.
      terms: those of the feed's lease, which a join renews.
      gap_arguments: the arguments of the EVAL that records a gap (`ingest.broker.gaps`).
    """

    def __init__(
        self,
        borrower: Borrower,
        keys: Keys,
        feed: str,
        group: str,
        limits: Callable[[str], Limits],
        terms: Terms | None = None,
        gap_arguments: Callable[[GapFound], Sequence[bytes]] | None = None,
    ) -> None:
        self._borrower = borrower
        self._keys = keys
        self._feed = feed
        self._feed_key = keys.feed(group, feed)
        self._terms = terms or Terms()
        self._gap_arguments = gap_arguments or partial(record_arguments, keys, group)
        self._packer = BatchPacker(ENQUEUE.digest, self._feed_key, keys, limits)
        self._connection: Connection | None = None  # ours and connected
        self._prefix: dict[str, str] = {}
        self._outstanding: deque[tuple[str, ...]] = deque()

    def acquire(self, wake: Callable[[], object]) -> bool:
        """Tell whether there is a connection for the next call; if other lines are first, ``wake`` is called once there is."""
        return self._connection is not None or self._borrower.ask(wake)

    @property
    def overstays(self) -> bool:
        """Whether other lines wait for the connection and this one has had its turn: it should `rest` once all replies are in."""
        return self._borrower.overstays

    def rest(self) -> None:
        """Let other lines have the connection, if no reply is outstanding; what was joined stays joined."""
        if not self._outstanding:
            self._connection = None
            self._borrower.give_back()

    def join(self, producer: str, base: int | None, leader: str = "") -> Joined:
        """Make every earlier call of ``producer`` void, and tell its position.

        With a ``leader``, its lease is renewed first, or taken again where Redis has forgotten it. A producer that Redis does
        not know begins at ``base``; if that is None, nothing is written for it.
        """
        nonce = secrets.token_hex(8)
        with self._closing_on_error():
            self._connect_if_need_be()
            self._send(command("SCRIPT", "LOAD", ENQUEUE.source))
            self._read()
            if leader and not self._hold(leader):
                return Joined(None, fenced=True)
            status, prefix, position = self._lease("attach", producer, nonce, "" if base is None else str(base), str(FORMAT))
        if status == b"unknown":
            return Joined(None)
        self._prefix[producer] = prefix.decode()
        return Joined(int(position), epoch=int(prefix.partition(b":")[0]))

    def _hold(self, leader: str) -> bool:
        """Renew the lease; where nobody holds it (Redis forgot), take it again. Tell whether it is ours."""
        status, _ = self._lease("renew", self._terms.milliseconds, leader, "", "")[0]
        if status != b"gone":
            return bool(status == b"ok")
        ((status, detail, *_),) = self._lease(*take_arguments([Bid(self._feed, leader, self._terms)], again=True))
        if status == b"error":
            raise refusal(detail.decode(errors="replace"))
        return bool(status == b"taken")

    def _lease(self, *arguments: str) -> Any:
        self._send(command("EVAL", LEASE.source, "1", self._feed_key, *arguments))
        return self._read()

    def enqueue_batch(self, producer: str, prev: int, last: int, messages: Sequence[Message], leader: str = "") -> None:
        """Send one call; its reply is read with `reply`. ``last`` is the position when all of it is in.

        With a ``leader`` it is admitted only while that one leads the feed.
        """
        if producer not in self._prefix:
            raise BrokerUnreachable("the line is closed")
        queues = queues_of(messages)
        at = Position(leader, f"p.{producer}", self._prefix[producer], prev, last)
        packed = self._packer.pack(at, queues, messages)
        with self._closing_on_error():
            self._connect_if_need_be()
            self._send(packed)
        self._outstanding.append(queues)

    def reply(self, timeout: float) -> Reply | None:
        """Return the reply to the oldest call that has none yet, or None if none comes within ``timeout`` seconds."""
        with self._closing_on_error():
            if not self._open().can_read(timeout):
                return None
            try:
                raw = self._read()
            except redis.ResponseError as error:  # of this call alone: the line is still good
                refused = translate(error)
                assert isinstance(refused, BrokerRefused)
                self._outstanding.popleft()
                return Reply("error", error=refused)
        return _parse(raw, self._outstanding.popleft())

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue; only while no reply is outstanding."""
        with self._closing_on_error():
            self._connect_if_need_be()
            self._send(command("LLEN", self._keys.messages(queue)))
            return int(self._read())

    def record(self, gap: GapFound) -> None:
        """Store the record of a gap; once, however often it is stored. Only while no reply is outstanding."""
        with self._closing_on_error():
            self._connect_if_need_be()
            self._send(command("EVAL", *self._gap_arguments(gap)))
            self._read()

    def done(self, producer: str) -> bool:
        """Forget a producer that has nothing more to send; False if Redis had forgotten it already.

        Only while no reply is outstanding.
        """
        with self._closing_on_error():
            self._connect_if_need_be()
            known: bool = self._lease("done", producer) == 1
        del self._prefix[producer]
        return known

    def close(self) -> None:
        """Close the connection; `join` gets another."""
        self._connection = None
        self._outstanding.clear()
        self._prefix.clear()
        self._borrower.close()

    def _connect_if_need_be(self) -> None:
        if self._connection is None:
            if not self._borrower.ask(lambda: None) or self._borrower.connection is None:
                raise redis.TimeoutError("every connection is in use")
            self._borrower.connection.connect()
            self._connection = self._borrower.connection

    def _open(self) -> Connection:
        if self._connection is None:
            raise BrokerUnreachable("the line is closed")
        return self._connection

    def _send(self, packed: bytes) -> None:
        self._open().send_packed_command([packed], check_health=False)

    def _read(self) -> Any:
        return self._open().read_response()

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:
            self.close()
            raise translate(error) from error
        except BaseException:
            self.close()
            raise


def _parse(raw: list[Any], queues: tuple[str, ...]) -> Reply:
    status, position, depth, wait_ms, detail, number = raw
    return Reply(
        status.decode(),
        position=int(position) if position else None,
        queue=queues[number - 1] if number else "",
        depth=depth,
        wait=wait_ms / 1000,
        error=refusal(detail.decode(errors="replace")) if detail else None,
    )
