"""A publisher over a line that answers as a test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ingest.broker.limits import Limits
from ingest.broker.line import Joined, Reply
from ingest.delivery.backlog import Entry
from ingest.errors import BrokerError
from ingest.events import GapFound
from tests.support.delivery import Pipeline


class FakeLine:
    """A Redis that admits everything, or does what ``answers`` say, one a call."""

    def __init__(self, *answers: Reply | BrokerError | None) -> None:
        self.answers = list(answers)
        self.positions: dict[str, int] = {}
        self.joins: list[tuple[str, str]] = []
        self.calls: list[tuple[int, list[int]]] = []
        self.leaders: list[str] = []
        self.data: list[bytes] = []
        self.replies: list[Reply | BrokerError | None] = []
        self.left: list[str] = []
        self.recorded: list[GapFound] = []
        self.closed = 0
        self.rests = 0
        self.overstays = False
        self.free = True
        self.asked: list[Callable[[], object]] = []
        self.depths = 0
        self.broken: Exception | None = None
        self.other_leads = False
        self.forgot = False
        self.moving = False
        self.looks = 0

    def is_moving(self) -> bool:
        self.looks += 1
        return self.moving

    def acquire(self, wake: Callable[[], object]) -> bool:
        self.asked.append(wake)
        return self.free

    def rest(self) -> None:
        self.rests += 1

    def join(self, producer: str, base: int | None, leader: str = "") -> Joined:
        if self.broken is not None:
            raise self.broken
        self.joins.append((producer, leader))
        self.replies.clear()
        if self.other_leads and leader:
            return Joined(None, fenced=True)
        if self.forgot and base is None:
            return Joined(None)
        self.forgot = False
        return Joined(base if base is not None else self.positions.get(producer, 0))

    def enqueue_batch(self, producer: str, prev: int, last: int, messages: Sequence[Entry], leader: str = "") -> None:
        self.calls.append((prev, [entry.seq for entry in messages]))
        self.leaders.append(leader)
        self.data += [entry.data for entry in messages]
        answer = self.answers.pop(0) if self.answers else Reply("ok", last)
        if isinstance(answer, Reply) and answer.position is not None:
            self.positions[producer] = answer.position
        self.replies.append(answer)

    def reply(self, timeout: float) -> Reply | None:
        answer = self.replies.pop(0)
        if isinstance(answer, BrokerError):
            raise answer
        if answer is None:
            self.replies.insert(0, None)
            time.sleep(min(timeout, 0.01))
        return answer

    def depth(self, queue: str) -> int:
        self.depths += 1
        return 1000

    def done(self, producer: str) -> bool:
        self.left.append(producer)
        return True

    def record(self, gap: GapFound) -> None:
        self.recorded.append(gap)

    def close(self) -> None:
        self.closed += 1


def pipeline(line: FakeLine, **options: object) -> Pipeline:
    return Pipeline(line, lambda _: Limits(high=1000, low=10), **options)  # type: ignore[arg-type]


def has_waiting(feed: Pipeline) -> bool:
    chain = feed.backlog.first
    return chain is not None and chain.has_waiting
