"""What a publisher talks to: its way into the queues, and whether it may.

The rule: shapes only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ingest.delivery.entry import Entry
from ingest.delivery.steps import Joined, Reply
from ingest.events import GapFound


class Line(Protocol):
    """A connection to the queues (`ingest.broker.line.Line`)."""

    @property
    def overstays(self) -> bool: ...
    def acquire(self, wake: Callable[[], object]) -> bool: ...
    def rest(self) -> None: ...
    def join(self, producer: str, base: int | None, leader: str = ...) -> Joined: ...
    def enqueue_batch(self, producer: str, prev: int, last: int, messages: Sequence[Entry], leader: str = ...) -> None: ...
    def reply(self, timeout: float) -> Reply | None: ...
    def is_moving(self) -> bool: ...
    def depth(self, queue: str) -> int: ...
    def done(self, producer: str) -> bool: ...
    def record(self, gap: GapFound) -> None: ...
    def close(self) -> None: ...


class Lead(Protocol):
    """Whether this process leads the feed (`ingest.service.tenure.Tenure`)."""

    @property
    def leader(self) -> str:
        """The producer whose lease is held; "" while another process leads."""

    def fenced(self, producer: str) -> None:
        """Take that ``producer`` leads no more."""
