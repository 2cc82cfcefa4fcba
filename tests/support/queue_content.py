"""What is in a queue at the end, number by number, against what was sent."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import redis

from tests.support.numbered import number_of
from tests.support.waiting import wait_until

#: Messages that are read in one round trip.
SLICE = 10_000

#: Seconds between two helpings of a consumer.
PERIOD = 0.02


def messages_in(client: redis.Redis, queue: str = "trades", namespace: str = "dramatiq") -> list[dict[str, Any]]:
    """Return every message that waits in a queue, in order, and leave it there."""
    key, out = f"{namespace}:{queue}", []
    for start in range(0, client.llen(key), SLICE):
        ids = client.lrange(key, start, start + SLICE - 1)
        out += [json.loads(data) for data in client.hmget(f"{key}.msgs", ids)] if ids else []
    return out


def numbers_in(client: redis.Redis, queue: str = "trades", namespace: str = "dramatiq") -> list[int]:
    """Return the numbers that wait in a queue, in order, and leave them there."""
    return numbers_of(messages_in(client, queue, namespace))


def numbers_of(messages: Iterable[dict[str, Any]]) -> list[int]:
    """Return the numbers in these messages, of which each carries one, or a list of them."""
    payloads = [message["args"][0] for message in messages]
    return [number_of(each) for payload in payloads for each in (payload if isinstance(payload, list) else [payload])]


def in_both(delivered: Iterable[int], sent: Iterable[int]) -> list[int]:
    """Return the numbers that came of those that were sent, in the order in which they came."""
    known = set(sent)
    return [number for number in delivered if number in known]


class Consumer:
    """Empties a queue in order, as a single worker would, and keeps the numbers; use as a context manager.

    Its connection must outlive the fault (a reply lost between server and consumer would lose messages): for tests that restart
    Redis read the queue instead. ``rate`` is in messages per second and may be changed at any time (None: no limit, 0: none at
    all).
    """

    def __init__(self, url: str, queue: str = "trades", namespace: str = "dramatiq", rate: float | None = None) -> None:
        self._client = redis.Redis.from_url(url)
        self._key = f"{namespace}:{queue}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._error: BaseException | None = None
        self._taking = False
        self.rate = rate
        self.numbers: list[int] = []
        #: The deepest that the queue was found.
        self.deepest = 0

    @property
    def newest(self) -> int:
        """The last number; 0 if none has come."""
        return self.numbers[-1] if self.numbers else 0

    def wait_for(self, count: int, timeout: float = 60.0) -> None:
        """Wait until so many numbers have come."""
        wait_until(
            lambda: len(self.numbers) >= count or self._error, timeout, f"{count} numbers (came: {len(self.numbers)})", 0.05
        )
        assert self._error is None, self._error

    def until_empty(self, timeout: float = 60.0) -> None:
        """Wait until nothing is left in the queue, and what was in it is among the numbers."""
        wait_until(lambda: self._is_empty() or self._error, timeout, "an empty queue", 0.05)

    def _is_empty(self) -> bool:
        return self._client.llen(self._key) == 0 and not self._taking

    def __enter__(self) -> Consumer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(30)
        self._client.close()
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                rate = self.rate
                count = 1000 if rate is None else math.ceil(rate * PERIOD)
                self._taking = True
                taken = self._take(count) if count else []
                self.numbers += taken
                self._taking = False
                self._stop.wait(0.0 if rate is None and taken else PERIOD)
        except BaseException as error:
            self._error = error

    def _take(self, count: int) -> list[int]:
        depth = self._client.llen(self._key)
        self.deepest = max(self.deepest, depth)
        ids = self._client.lrange(self._key, 0, count - 1) if depth else []
        if not ids:
            return []
        found = self._client.hmget(f"{self._key}.msgs", ids)
        with self._client.pipeline(transaction=True) as pipe:
            pipe.ltrim(self._key, len(ids), -1)
            pipe.hdel(f"{self._key}.msgs", *ids)
            pipe.execute()
        return numbers_of(json.loads(data) for data in found)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Delivered numbers beside those that were sent."""

    delivered: int
    #: Sent, not delivered, though a later number of the same connection was: lost by us.
    missing: list[int]
    #: Delivered more than once.
    doubled: list[int]
    #: Delivered after a later number, or never sent at all.
    misplaced: list[int]
    #: The tails: sent after the last that was delivered of its connection. Where the connection was cut nobody can know better.
    tails: list[list[int]]

    @property
    def unread(self) -> int:
        """How many numbers the tails hold."""
        return sum(map(len, self.tails))

    @property
    def exact(self) -> bool:
        """Whether, of every connection, a prefix came, in order and each number once."""
        return not (self.missing or self.doubled or self.misplaced)


def compare(delivered: Sequence[int], connections: Sequence[Sequence[int]]) -> Comparison:
    """Compare what came with what was sent on each connection; a feed reads one connection after the other."""
    place = {number: (index, at) for index, sent in enumerate(connections) for at, number in enumerate(sent)}
    counts = Counter(delivered)
    newest, misplaced = (-1, -1), []
    for number in delivered:
        if number not in place or place[number] < newest:
            misplaced.append(number)
        else:
            newest = place[number]
    missing, tails = [], []
    for sent in connections:
        end = max((at + 1 for at, number in enumerate(sent) if number in counts), default=0)
        missing += [number for number in sent[:end] if number not in counts]
        tails.append(list(sent[end:]))
    return Comparison(len(delivered), missing, [n for n, times in counts.items() if times > 1], misplaced, tails)
