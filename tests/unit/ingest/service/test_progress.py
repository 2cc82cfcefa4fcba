"""What a leader tells of how far it is: never more than is safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from ingest.connection.gaps import Before
from ingest.delivery.backlog import Backlog, Chain, Entry
from ingest.service.progress import Progress
from ingest.service.tenure import Tenure
from tests.support.delivery import memory_backlog

NOW = 1_790_000_000_000_000


class Leader:
    """A process that leads, with numbers that are set by hand."""

    def __init__(self, before: Before | None = None) -> None:
        self.now = NOW
        self.places: deque[tuple[int, str]] = deque()
        self.emitted = 0
        self.missing: int | None = None
        self.unread: int | None = None
        self.unrecorded: list[int | None] = [None, None]
        self.backlog: Backlog = memory_backlog()
        self.chain: Chain = self.backlog.open("p", 1)
        self.tenure = Tenure("t", self.backlog, enter=lambda chain: None, changed=lambda: None, publish=lambda event: None)
        self.tenure.granted(self.chain, before)
        self.progress = Progress(
            self.backlog,
            self.tenure,
            places=self.places,
            missing_since=lambda: self.missing,
            unread_since=lambda: self.unread,
            unrecorded_since=[lambda: self.unrecorded[0], lambda: self.unrecorded[1]],
            wall=lambda: self.now,
        )

    def emit(self, place: str, received_us: int = NOW) -> None:
        self.emitted += 1
        self.places.append((self.emitted, place))
        self.backlog.put(self.chain, [Entry(self.emitted, self.emitted, "q", b"id", b"data", received_us)])

    def enqueue(self, seq: int) -> None:
        self.backlog.take(self.chain, 100, 100_000)
        self.backlog.commit(self.chain, seq)
        self.backlog.rewind(self.chain)


@pytest.fixture
def leader() -> Leader:
    made = Leader()
    made.tenure.enter()
    return made


def test_a_place_is_told_when_all_up_to_it_is_in_redis_and_not_before(leader: Leader) -> None:
    leader.emit("1")
    leader.emit("2")
    assert leader.progress.position() == ""
    leader.enqueue(1)
    assert leader.progress.position() == "1"
    leader.enqueue(2)
    leader.emit("3")
    assert leader.progress.position() == "2"
    leader.enqueue(3)
    assert leader.progress.position() == "3"


def test_who_does_not_lead_tells_none(leader: Leader) -> None:
    leader.emit("1")
    leader.enqueue(1)
    leader.tenure.fenced("p")
    assert leader.progress.position() == ""


def test_what_waits_is_not_safe_from_its_oldest_on(leader: Leader) -> None:
    assert leader.progress.safe_us() == NOW
    leader.emit("1", NOW - 5)
    leader.emit("2", NOW - 3)
    assert leader.progress.safe_us() == NOW - 5
    leader.enqueue(1)
    assert leader.progress.safe_us() == NOW - 3
    leader.enqueue(2)
    assert leader.progress.safe_us() == NOW


def test_an_open_gap_is_not_safe_either(leader: Leader) -> None:
    leader.missing = NOW - 9
    leader.emit("1", NOW - 5)
    assert leader.progress.safe_us() == NOW - 9


@pytest.mark.parametrize("way", [0, 1])
def test_what_is_lost_and_not_recorded_yet_is_not_safe(leader: Leader, way: int) -> None:
    leader.unrecorded[way] = NOW - 30
    leader.emit("1", NOW - 5)
    assert leader.progress.safe_us() == NOW - 30
    leader.progress.end()
    assert leader.progress.safe_us() == NOW - 30


def test_a_lead_that_nobody_has_taken_up_begins_where_the_last_one_ended() -> None:
    leader = Leader(Before("failover", "q", 7, None, NOW - 60))
    assert leader.progress.safe_us() == NOW - 60
    leader.tenure.enter()
    assert leader.progress.safe_us() == NOW


@pytest.mark.parametrize("late", [lambda leader: leader.emit("1", NOW + 5), lambda leader: None], ids=["waits", "nothing"])
def test_at_an_end_it_is_the_moment_at_which_reading_stopped(leader: Leader, late: Callable[[Leader], None]) -> None:
    leader.progress.end()
    leader.now = NOW + 9_000_000
    late(leader)
    assert leader.progress.safe_us() == NOW


def test_what_came_while_nobody_read_is_not_safe_nor_is_it_at_an_end(leader: Leader) -> None:
    leader.unread = NOW - 9
    assert leader.progress.safe_us() == NOW - 9
    leader.progress.end()
    assert leader.progress.safe_us() == NOW - 9
    leader.unread = NOW + 5
    assert leader.progress.safe_us() == NOW
