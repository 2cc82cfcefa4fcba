"""Dramatiq's dead letters: read in order of age, put back into their queues, or deleted; safe while workers run.

Keys: Dramatiq's own, ``<ns>:<queue>.XQ`` (sorted set of ids by the time they died, ms) and ``<ns>:<queue>.XQ.msgs`` (hash of
id -> message). Nothing of ours is kept there.

The rule: never more than one batch in memory, however many there are; what changes is one script for each batch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, cast

import redis

from ingest.broker.clients import refusal, translated
from ingest.broker.dead_letter import DeadLetter, read_dead_letter, renewed
from ingest.broker.hooks import message_encoder
from ingest.broker.keys import Keys
from ingest.broker.scripts import DELETE_DEAD, RETRY_DEAD

#: Ids that are read at once.
PAGE = 1000

#: Messages in one script call, and bytes of them that are read at once; always at least one message.
BATCH = 500
BATCH_BYTES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which dead letters; None is any.

    Attributes:
      older_than, newer_than: seconds since they died, at ``until``.
      until: wall-clock seconds; what died later is not meant. None is now, and later ones too.
      exception: a part of the line that names the exception, in any case: ``TimeoutError``, or ``connection refused``.
    """

    queue: str | None = None
    actor: str | None = None
    feed: str | None = None
    older_than: float | None = None
    newer_than: float | None = None
    exception: str | None = None
    until: float | None = None

    @property
    def reads_content(self) -> bool:
        """Whether the messages have to be read to tell."""
        return any(value is not None for value in (self.actor, self.feed, self.exception))

    def takes(self, letter: DeadLetter) -> bool:
        """Tell whether a dead letter is meant, by what is in it; age and queue are the reader's."""
        return (
            self.actor in (None, letter.actor)
            and self.feed in (None, letter.feed)
            and (self.exception is None or self.exception.casefold() in letter.cause.casefold())
        )


class _Place(NamedTuple):
    """Where a reader is: Redis orders by time of death (ms), then by id."""

    score: float
    ident: bytes


class DeadLetters:
    """The dead letters of one Dramatiq namespace. Everything raises `ingest.errors.BrokerError`; for any thread."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._client = client
        self._keys = Keys(namespace)
        self._retry = client.register_script(RETRY_DEAD.source)
        self._delete = client.register_script(DELETE_DEAD.source)
        self._encoder = message_encoder()

    def queues(self) -> list[str]:
        """Return the queues that have dead letters. Walks the key space: for commands, not for every second."""
        head, tail = f"{self._keys.namespace}:", ".XQ"
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", head) + "*" + tail
        with translated():
            names = [cast(bytes, name).decode(errors="replace") for name in self._client.scan_iter(pattern, PAGE, _type="zset")]
        return sorted({name[len(head) : -len(tail)] for name in names})

    def count(self, wanted: Filter | None = None) -> int:
        """Return how many a `scan` will look at: age and queue count, what is in the messages does not."""
        wanted = wanted or Filter()
        oldest, newest = _bounds(wanted)
        with translated():
            return sum(
                int(self._client.zcount(self._keys.dead_letters(queue), oldest, newest)) for queue in self._queues_of(wanted)
            )

    def scan(self, wanted: Filter | None = None, limit: int | None = None) -> Iterator[DeadLetter]:
        """Yield at most ``limit`` dead letters, queue by queue, the oldest first.

        Others may add and take away meanwhile: what is there from beginning to end is yielded once. What dies in a queue after
        its first was read is left out, so that retrying what is yielded comes to an end.
        """
        wanted = wanted or Filter()
        left = limit if limit is not None else -1
        for queue in self._queues_of(wanted):
            if left == 0:
                return
            for letter in self._scan(queue, wanted):
                yield letter
                left -= 1
                if left == 0:
                    return

    def batches(self, wanted: Filter | None = None) -> Iterator[tuple[str, list[str]]]:
        """Yield queues, and at most `BATCH` ids for `retry` or `delete` at a time, in the order of `scan`."""
        wanted = wanted or Filter()
        for queue in self._queues_of(wanted):
            if wanted.reads_content:
                ids = (letter.id for letter in self._scan(queue, wanted))
            else:
                ids = (place.ident.decode(errors="replace") for page in self._pages(queue, wanted) for place in page)
            while some := list(islice(ids, BATCH)):
                yield queue, some

    def get(self, queue: str, message_id: str, *, search: bool = True) -> DeadLetter | None:
        """Return the dead letter of this id in Redis, or else, with ``search``, of this message id: then all may be read."""
        with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.zscore(self._keys.dead_letters(queue), message_id)
            pipe.hget(self._keys.dead_letter_data(queue), message_id)
            score, data = cast("tuple[float | None, bytes | None]", pipe.execute())
        if score is not None:
            return read_dead_letter(queue, message_id, score / 1000, data, self._encoder)
        if not search:
            return None
        return next((letter for letter in self._scan(queue, Filter()) if letter.message_id == message_id), None)

    def retry(self, queue: str, ids: Sequence[str]) -> int:
        """Put these back at the end of their queue, in this order, to be tried anew; return how many were.

        The others were no dead letters any more, or nobody can read them; those stay. No watermark holds them back, and no
        middleware is asked. After an error some may be back: calling again with the same ids does the rest.
        """
        return sum(self._put_back(queue, letters) for letters in self._batches(queue, ids))

    def delete(self, queue: str, ids: Sequence[str]) -> int:
        """Delete these; return how many there were."""
        keys = [self._keys.dead_letters(queue), self._keys.dead_letter_data(queue)]
        with translated():
            return sum(int(self._delete(keys, ids[at : at + PAGE])) for at in range(0, len(ids), PAGE))

    def _queues_of(self, wanted: Filter) -> list[str]:
        return self.queues() if wanted.queue is None else [wanted.queue]

    def _put_back(self, queue: str, letters: Iterable[DeadLetter]) -> int:
        told = [(letter.id, *new) for letter in letters if (new := renewed(letter, self._encoder)) is not None]
        if not told:
            return 0
        keys = self._keys
        names = [keys.dead_letters(queue), keys.dead_letter_data(queue), keys.messages(queue), keys.message_data(queue)]
        with translated():
            count, error = self._retry(names, [value for each in told for value in each])
        if error:
            raise refusal(error.decode(errors="replace"))
        return int(count)

    def _scan(self, queue: str, wanted: Filter) -> Iterator[DeadLetter]:
        for page in self._pages(queue, wanted):
            scores = {place.ident.decode(errors="replace"): place.score for place in page}
            for letters in self._batches(queue, list(scores), scores):
                yield from filter(wanted.takes, letters)

    def _batches(self, queue: str, ids: Sequence[str], scores: dict[str, float] | None = None) -> Iterator[list[DeadLetter]]:
        """Read dead letters in batches that are small in number and in bytes."""
        key = self._keys.dead_letter_data(queue)
        for at in range(0, len(ids), BATCH):
            some = ids[at : at + BATCH]
            with translated(), self._client.pipeline(transaction=False) as pipe:
                for ident in some:
                    pipe.hstrlen(key, ident)
                sizes = cast("list[int]", pipe.execute())
            for few in _cut(some, sizes):
                with translated():
                    datas = cast("list[bytes | None]", self._client.hmget(key, few))
                yield [
                    read_dead_letter(queue, ident, (scores or {}).get(ident, 0.0) / 1000, data, self._encoder)
                    for ident, data in zip(few, datas, strict=True)
                ]

    def _pages(self, queue: str, wanted: Filter) -> Iterator[list[_Place]]:
        """Yield the places of the dead letters that are old and young enough, in order."""
        key, (oldest, newest) = self._keys.dead_letters(queue), _bounds(wanted)
        with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.zrange(key, -1, -1, withscores=True)
            pipe.zcount(key, oldest, newest)
            last, left = cast("tuple[list[tuple[bytes, float]], int]", tuple(pipe.execute()))
        newest = min(newest, last[0][1]) if last else newest
        here = _Place(oldest, b"")
        # So many, too: workers' clocks differ, so what dies anew might not come last.
        while left > 0 and (page := [place for place in self._page(key, here) if place.score <= newest][:left]):
            yield page
            here, left = page[-1], left - len(page)

    def _page(self, key: str, here: _Place) -> list[_Place]:
        """Return the next places after ``here``; empty at the end. What is taken away before it meanwhile does not matter."""
        while True:
            at = self._rank(key, here)
            with translated():
                found = cast("list[tuple[bytes, float]]", self._client.zrange(key, at, at + 2 * PAGE - 1, withscores=True))
            places = [_Place(score, ident) for ident, score in found]
            if at == 0 or (places and places[0] <= here):
                return [place for place in places if place > here]

    def _rank(self, key: str, here: _Place) -> int:
        """Return a rank at most `PAGE` before the first place after ``here``, as it is at this moment."""
        with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.zcount(key, "-inf", f"({here.score!r}")
            pipe.zcount(key, "-inf", here.score)
            low, high = cast("list[int]", pipe.execute())
        while high - low > PAGE:  # many that died in the same millisecond: Redis orders them by id
            middle = (low + high) // 2
            with translated():
                found = cast("list[tuple[bytes, float]]", self._client.zrange(key, middle, middle, withscores=True))
            if found and _Place(found[0][1], found[0][0]) <= here:
                low = middle
            else:
                high = middle
        return max(0, low - 1)


def _bounds(wanted: Filter) -> tuple[float, float]:
    """Return the oldest and the newest time of death that are meant, in ms."""
    now = time.time() if wanted.until is None else wanted.until
    latest = float("inf") if wanted.until is None else wanted.until * 1000
    oldest = float("-inf") if wanted.newer_than is None else (now - wanted.newer_than) * 1000
    newest = latest if wanted.older_than is None else (now - wanted.older_than) * 1000
    return oldest, newest


def _cut(ids: Sequence[str], sizes: Sequence[int]) -> Iterator[list[str]]:
    """Yield ids in order, in pieces of at most `BATCH_BYTES`, but of at least one."""
    piece: list[str] = []
    total = 0
    for ident, size in zip(ids, sizes, strict=True):
        if piece and total + size > BATCH_BYTES:
            yield piece
            piece, total = [], 0
        piece.append(ident)
        total += size
    if piece:
        yield piece
