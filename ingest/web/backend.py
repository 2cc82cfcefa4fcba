"""What the page reads and does in Redis when it is asked to: gaps, dead letters, pauses.

The rule: called in threads, several at once; time and memory are bounded whatever Redis holds; raises
`ingest.errors.BrokerError`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ingest.broker.clients import make_client
from ingest.broker.control import Control
from ingest.broker.dead_letter import DeadLetter
from ingest.broker.dead_letters import DeadLetters, Filter
from ingest.broker.gaps import GapRecord, read_gaps
from ingest.broker.keys import Keys
from ingest.clock import Deadline
from ingest.tools.views import FeedView
from settings.model import BrokerSettings

#: Seconds until a connection must stand, and until an answer must have come.
TIMEOUT = 2.0

#: Seconds for which dead letters are looked through.
PATIENCE = 4.0

#: Who paused a feed, as others see it.
BY = "the web page"

#: A dead letter's queue and id.
LetterId = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """Dead letters without their content, the oldest first.

    Attributes:
      more: whether there are further ones that are meant.
      looked_at: how many were looked through until the time was over; None where it sufficed.
    """

    letters: Sequence[DeadLetter]
    more: bool = False
    looked_at: int | None = None


class Backend:
    """Reads and acts for all who have the page open."""

    def __init__(self, broker: BrokerSettings, *, timeout: float = TIMEOUT, patience: float = PATIENCE) -> None:
        self._client = make_client(
            **broker.endpoint(),
            max_connections=broker.max_connections,
            connect_timeout=timeout,
            socket_timeout=timeout,
        )
        self._keys = Keys(broker.namespace)
        self._dead = DeadLetters(self._client, broker.namespace)
        self._patience = patience

    def gaps(self, feed: FeedView) -> list[GapRecord]:
        return read_gaps(self._client, self._keys, feed.group, [feed.name])

    def pause(self, feed: FeedView) -> bool:
        """Pause a feed; False if it was paused before."""
        return Control(self._client, self._keys, feed.group).pause(feed.name, BY)

    def resume(self, feed: FeedView) -> bool:
        """Let a feed go on; False if it was not paused."""
        return Control(self._client, self._keys, feed.group).resume(feed.name)

    def letters(self, wanted: Filter, most: int) -> Found:
        """Return at most so many dead letters."""
        found: list[DeadLetter] = []
        deadline = Deadline(self._patience)
        # By what is in them they are picked here, so that the time is looked at although none is meant.
        for looked_at, letter in enumerate(self._dead.scan(Filter(queue=wanted.queue)), 1):
            if wanted.takes(letter):
                if len(found) == most:
                    return Found(found, more=True)
                found.append(_without_content(letter))
            if deadline.expired:
                return Found(found, looked_at=looked_at)
        return Found(found)

    def letter(self, queue: str, ident: str) -> DeadLetter | None:
        return self._dead.get(queue, ident, search=False)

    def retry(self, chosen: Sequence[LetterId]) -> int:
        """Put dead letters back into their queues; return how many."""
        return _each_queue(chosen, self._dead.retry)

    def delete(self, chosen: Sequence[LetterId]) -> int:
        """Delete dead letters; return how many."""
        return _each_queue(chosen, self._dead.delete)


def _without_content(letter: DeadLetter) -> DeadLetter:
    """Drop what a list does not show: a hundred messages of the largest kind would be gigabytes."""
    return replace(letter, content=None, traceback=letter.cause[:1000])


def _each_queue(chosen: Sequence[LetterId], act: Callable[[str, Sequence[str]], int]) -> int:
    by_queue: defaultdict[str, list[str]] = defaultdict(list)
    for queue, ident in chosen:
        by_queue[queue].append(ident)
    return sum(act(queue, ids) for queue, ids in by_queue.items())
