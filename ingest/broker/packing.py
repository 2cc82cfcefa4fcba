"""Turns a batch of messages into the bytes of one EVALSHA command (RESP 2).

The rule: what is the same for every batch is packed once, and nothing of ours runs once per message: columns are filled in at
C's speed and joined in one step, because the client library's own packing costs more than everything else that happens to one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, Protocol

from ingest.broker.keys import Keys
from ingest.broker.limits import Limits

#: Combinations of queues remembered; a feed that routes by content must not grow this without end.
_MOST_ROUTES = 256

_QUEUE, _ID, _DATA = attrgetter("queue"), attrgetter("id"), attrgetter("data")


class _Heads(dict[int, bytes]):
    """What stands before an argument of so many bytes, behind the bytes of the one before; made once for usual lengths."""

    USUAL = 4096

    def __missing__(self, length: int) -> bytes:
        head = b"\r\n$%d\r\n" % length
        if length < self.USUAL:
            self[length] = head
        return head


_head = _Heads().__getitem__


class Message(Protocol):
    """One encoded message: ``data`` is for ``queue``, under ``id``."""

    @property
    def queue(self) -> str: ...
    @property
    def id(self) -> bytes: ...
    @property
    def data(self) -> bytes: ...


class Position(NamedTuple):
    """The arguments of enqueue.lua that say where in its producer's chain a batch stands."""

    leader: str
    field: str
    prefix: str
    prev: int
    last: int


class _Route(NamedTuple):
    of: list[Limits]  # what `limits` is made of
    keys: bytes  # from the number of keys to the last of them
    limits: bytes  # from the number of queues to the last burst
    arguments: int


class BatchPacker:
    """Packs the batches of one feed for the script with this SHA1 digest."""

    def __init__(self, digest: str, feed_key: str, keys: Keys, limits: Callable[[str], Limits]) -> None:
        self._command = bulk(b"EVALSHA") + bulk(digest.encode())
        self._feed_key = feed_key
        self._keys = keys
        self._limits = limits
        self._routes: dict[tuple[str, ...], _Route] = {}

    def pack(self, at: Position, queues: tuple[str, ...], messages: Sequence[Message]) -> bytes:
        """Return the command that enqueues ``messages``, all of which are for one of ``queues``."""
        limits = [self._limits(queue) for queue in queues]  # they may be others than at the last batch
        route = self._routes.get(queues)
        if route is None or route.of != limits:
            route = self._add_route(queues, limits)
        runs = _runs(queues, messages)
        count = 3 + route.arguments + len(at) + 1 + len(runs) + 2 * len(messages)
        parts = [b"*%d\r\n" % count, self._command, route.keys, *(_text(str(value)) for value in at), route.limits]
        parts.append(_number(len(runs) // 2))
        parts.extend(map(_number, runs))
        ids, data = list(map(_ID, messages)), list(map(_DATA, messages))
        columns = [b""] * (4 * len(messages) + 2)
        columns[0] = b"".join(parts)[:-2]  # the heads have the line ends
        columns[1:-1:4] = map(_head, map(len, ids))
        columns[2:-1:4] = ids
        columns[3:-1:4] = map(_head, map(len, data))
        columns[4:-1:4] = data
        columns[-1] = b"\r\n"
        return b"".join(columns)

    def _add_route(self, queues: tuple[str, ...], of: list[Limits]) -> _Route:
        names = [self._feed_key]
        numbers: list[float] = [len(queues)]
        for queue, limits in zip(queues, of, strict=True):
            names += [self._keys.messages(queue), self._keys.message_data(queue), self._keys.rate(queue)]
            numbers += [limits.high, limits.rate or 0, limits.burst_messages]
        keys = _number(len(names)) + b"".join(map(_text, names))
        route = _Route(of, keys, b"".join(_text(f"{number:.10g}") for number in numbers), len(names) + len(numbers))
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        self._routes[queues] = route
        return route


def queues_of(messages: Iterable[Message]) -> tuple[str, ...]:
    """Return the queues that messages are for, each once."""
    return tuple(sorted(set(map(_QUEUE, messages))))


def _runs(queues: tuple[str, ...], messages: Sequence[Message]) -> list[int]:
    """Return queue, count, queue, count, … of consecutive messages for the same queue."""
    if len(queues) == 1:
        return [1, len(messages)]
    runs: list[int] = []
    for queue, run in groupby(messages, key=_QUEUE):
        runs += [queues.index(queue) + 1, sum(1 for _ in run)]
    return runs


def command(*arguments: str | bytes) -> bytes:
    """Return a command of texts or bytes."""
    return b"*%d\r\n" % len(arguments) + b"".join(
        [bulk(each if isinstance(each, bytes) else each.encode()) for each in arguments]
    )


def bulk(value: bytes) -> bytes:
    """Return one argument."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def _text(value: str) -> bytes:
    return bulk(value.encode())


def _number(value: int) -> bytes:
    return bulk(b"%d" % value)
