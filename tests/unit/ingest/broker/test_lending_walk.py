"""The lender under whatever lines may do: at random in one thread, and from many threads at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from random import Random
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ingest.broker.lending import TURN, Borrower, Lender

BORROWERS, MOST = 6, 2
WHO = st.integers(0, BORROWERS - 1)


class Made:
    """A connection that knows who uses it, and whether it was closed."""

    def __init__(self) -> None:
        self.user: object = None
        self.closed = False

    def disconnect(self) -> None:
        assert self.user is None, "closed under somebody's hands"
        self.closed = True

    def connect(self) -> None:
        self.closed = False

    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None: ...

    def can_read(self, timeout: float = 0) -> bool:
        return False

    def read_response(self) -> Any:
        return None


class LenderWalk(RuleBasedStateMachine):
    """Lines ask, hand back and close in any order; beside them goes what each of them must be told."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.lender = Lender(Made, MOST, lambda: self.now)
        self.lines = [self.lender.borrower() for _ in range(BORROWERS)]
        self.has: set[int] = set()
        self.waits: list[int] = []  # in the order in which they asked
        self.woken: list[int] = []

    def grant(self, but: int) -> None:
        """Work out who is served now, and see that all of them but the caller were woken, in order."""
        expected = []
        while self.waits and len(self.has) < MOST:
            served = self.waits.pop(0)
            self.has.add(served)
            expected += [served] if served != but else []
        assert self.woken == expected
        self.woken.clear()

    @rule(who=WHO)
    def ask(self, who: int) -> None:
        there = self.lines[who].ask(lambda: self.woken.append(who))
        if who not in self.has and who not in self.waits:
            self.waits.append(who)
        self.grant(who)
        assert there is (who in self.has)

    @rule(who=WHO, good=st.booleans())
    def hand_back(self, who: int, good: bool) -> None:
        held = self.lines[who].connection
        self.lines[who].give_back() if good else self.lines[who].close()
        assert good or not isinstance(held, Made) or held.closed
        self.has.discard(who)
        if who in self.waits:
            self.waits.remove(who)
        self.grant(who)

    @rule(seconds=st.sampled_from([TURN / 2, TURN * 2]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(who=WHO)
    def a_turn_begins_when_the_line_finds_its_connection(self, who: int) -> None:
        line = self.lines[who]
        if line.since is None:
            assert not line.overstays
        else:
            assert line.overstays is (bool(self.waits) and self.now - line.since > TURN)

    @invariant()
    def each_connection_has_one_borrower(self) -> None:
        lent = [line.connection for line in self.lines if line.connection is not None]
        assert len({id(each) for each in lent}) == len(lent) == len(self.has)
        assert {number for number, line in enumerate(self.lines) if line.connection is not None} == self.has

    @invariant()
    def nobody_waits_while_there_is_one(self) -> None:
        assert not self.waits or len(self.has) == MOST


TestLenderWalk = LenderWalk.TestCase
TestLenderWalk.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


class Line(threading.Thread):
    """Does so many turns as a publisher does: asks, waits to be woken where others are first, works, hands back."""

    def __init__(self, borrower: Borrower, turns: int, chance: Random) -> None:
        super().__init__(daemon=True)
        self.borrower = borrower
        self.turns = turns
        self.chance = chance
        self.woken = threading.Event()
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            for _ in range(self.turns):
                self.turn()
        except BaseException as fault:
            self.fault = fault
        finally:
            self.borrower.close()

    def turn(self) -> None:
        while not self.borrower.ask(self.woken.set):
            if self.chance.random() < 0.1:  # the lease is lost, say: it wants none any more, perhaps just as it is handed one
                self.borrower.give_back()
                continue
            assert self.woken.wait(10), "nobody woke it"
            self.woken.clear()
        connection = self.borrower.connection
        assert isinstance(connection, Made)
        connection.connect()
        assert connection.user is None, "somebody else uses it"
        connection.user = self
        if self.chance.random() < 0.2:
            threading.Event().wait(0.0005)  # a reply that takes its time: others ask meanwhile
        assert connection.user is self
        assert not connection.closed
        connection.user = None
        end = self.borrower.close if self.chance.random() < 0.1 else self.borrower.give_back
        end()


def many_lines(count: int, turns: int) -> Iterator[Line]:
    lender = Lender(Made, 3)
    for number in range(count):
        yield Line(lender.borrower(), turns, Random(number))


def test_many_threads_share_three_connections_and_all_get_through() -> None:
    lines = list(many_lines(24, 100))
    for line in lines:
        line.start()
    for line in lines:
        line.join(30)
    assert [(line.is_alive(), line.fault) for line in lines] == [(False, None)] * len(lines)
