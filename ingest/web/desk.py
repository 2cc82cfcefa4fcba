"""What a page reads and does in Redis when it is asked to: gaps, dead letters, pauses.

The rule: called in threads, several at once; short time-outs; raises `ingest.errors.BrokerError`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice

from ingest.broker.clients import make_client
from ingest.broker.control import Control
from ingest.broker.dead_letter import DeadLetter
from ingest.broker.dead_letters import DeadLetters, Filter
from ingest.broker.gaps import GapRecord, read_gaps
from ingest.broker.keys import Keys
from ingest.tools.views import FeedView
from settings.model import BrokerSettings

#: Seconds until a connection must stand, and until an answer must have come.
TIMEOUT = 2.0

#: Who paused a feed, as others see it.
BY = "the web page"


class Desk:
    """Reads and acts for all who have the page open."""

    def __init__(self, broker: BrokerSettings, *, timeout: float = TIMEOUT) -> None:
        self._client = make_client(
            broker.url.get_secret_value(),
            verify=broker.tls.verify,
            ca_file=broker.tls.ca_file,
            max_connections=broker.max_connections,
            connect_timeout=timeout,
            socket_timeout=timeout,
        )
        self._keys = Keys(broker.namespace)
        self._dead = DeadLetters(self._client, broker.namespace)

    def gaps(self, feed: FeedView) -> list[GapRecord]:
        return read_gaps(self._client, self._keys, feed.group, [feed.name])

    def pause(self, feed: FeedView) -> bool:
        return self._control(feed).pause(feed.name, BY)

    def resume(self, feed: FeedView) -> bool:
        return self._control(feed).resume(feed.name)

    def letters(self, wanted: Filter, most: int) -> list[DeadLetter]:
        """Return at most so many dead letters, the oldest first."""
        return list(islice(self._dead.scan(wanted, most), most))

    def letter(self, queue: str, ident: str) -> DeadLetter | None:
        return self._dead.get(queue, ident)

    def retry(self, chosen: Sequence[tuple[str, str]]) -> int:
        """Put dead letters (queue and id) back into their queues; return how many."""
        return self._each_queue(chosen, self._dead.retry)

    def delete(self, chosen: Sequence[tuple[str, str]]) -> int:
        """Delete dead letters; return how many."""
        return self._each_queue(chosen, self._dead.delete)

    def close(self) -> None:
        self._client.close()

    def _control(self, feed: FeedView) -> Control:
        return Control(self._client, self._keys, feed.group)

    @staticmethod
    def _each_queue(chosen: Sequence[tuple[str, str]], act: Callable[[str, Sequence[str]], int]) -> int:
        by_queue: defaultdict[str, list[str]] = defaultdict(list)
        for queue, ident in chosen:
            by_queue[queue].append(ident)
        return sum(act(queue, ids) for queue, ids in by_queue.items())
