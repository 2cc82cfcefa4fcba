"""Connections that several lines share: who gets one when, what becomes of it, and that nobody is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.broker.lending import TURN, Borrower, Lender


class Made:
    """A connection that only knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.fault: Exception | None = None

    def connect(self) -> None: ...
    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None: ...

    def disconnect(self) -> None:
        self.closed += 1
        if self.fault is not None:
            raise self.fault

    def can_read(self, timeout: float = 0) -> bool:
        return False

    def read_response(self) -> Any:
        return None


class Bank:
    """A lender with its clock, what it made, and whom it woke, in order."""

    def __init__(self, most: int) -> None:
        self.now = 0.0
        self.made: list[Made] = []
        self.woken: list[Borrower] = []
        self.refuses = False
        self.lender = Lender(self._make, most, lambda: self.now)

    def _make(self) -> Made:
        if self.refuses:
            raise ValueError("none today")
        self.made.append(Made())
        return self.made[-1]

    def borrowers(self, count: int) -> list[Borrower]:
        return [self.lender.borrower() for _ in range(count)]

    def ask(self, borrower: Borrower) -> bool:
        return borrower.ask(lambda: self.woken.append(borrower))


def test_a_connection_is_made_when_it_is_needed_and_used_again() -> None:
    bank = Bank(2)
    first, second = bank.borrowers(2)
    assert bank.ask(first)
    assert bank.ask(first), "who has one may ask again"
    first.give_back()
    assert bank.ask(second)
    assert (len(bank.made), second.connection, first.connection, bank.woken) == (1, bank.made[0], None, [])


def test_who_comes_too_many_waits_and_is_served_in_order() -> None:
    bank = Bank(2)
    a, b, c, d = bank.borrowers(4)
    assert [bank.ask(each) for each in (a, b, c, d, c)] == [True, True, False, False, False]
    b.give_back()
    a.give_back()
    assert bank.woken == [c, d]
    assert (c.connection, d.connection) == (bank.made[1], bank.made[0])
    assert not bank.ask(a), "the newcomer does not overtake"
    assert len(bank.made) == 2


@pytest.mark.parametrize("end", [Borrower.give_back, Borrower.close])
def test_who_waits_no_more_is_passed_over(end: Any) -> None:
    bank = Bank(1)
    a, b, c = bank.borrowers(3)
    for each in (a, b, c):
        bank.ask(each)
    end(b)
    a.give_back()
    assert (bank.woken, b.connection) == ([c], None)


def test_a_connection_that_is_closed_frees_its_place_and_takes_the_idle_ones_with_it() -> None:
    bank = Bank(3)
    a, b, c = bank.borrowers(3)
    for each in (a, b, c):
        bank.ask(each)
    a.give_back()
    b.close()
    assert [made.closed for made in bank.made] == [1, 1, 0], "the one that is lent is its borrower's to judge"
    bank.ask(a)
    assert a.connection is bank.made[3]


def test_a_line_overstays_only_where_others_wait_and_after_its_turn() -> None:
    bank = Bank(1)
    a, b = bank.borrowers(2)
    bank.ask(a)
    bank.now += 10 * TURN
    assert not a.overstays
    bank.ask(b)
    assert a.overstays
    assert not b.overstays
    a.give_back()
    bank.ask(a)
    bank.ask(b)
    assert not b.overstays, "its turn has only begun"
    bank.now += 2 * TURN
    assert b.overstays


def test_a_turn_begins_when_the_line_comes_to_it_not_when_it_was_handed_over() -> None:
    bank = Bank(1)
    a, b = bank.borrowers(2)
    bank.ask(a)
    bank.ask(b)
    a.give_back()
    bank.ask(a)
    bank.now += 10 * TURN  # so busy is the machine that its thread runs only now
    assert not b.overstays, "it would pass the connection on without having used it, and so would the next"
    assert bank.ask(b)
    assert not b.overstays
    bank.now += 2 * TURN
    assert b.overstays


def test_who_was_handed_a_connection_is_woken_though_closing_another_fails() -> None:
    bank = Bank(1)
    a, b = bank.borrowers(2)
    bank.ask(a)
    bank.ask(b)
    bank.made[0].fault = OSError("closing failed")
    with pytest.raises(OSError, match="closing failed"):
        a.close()
    assert (bank.woken, b.connection) == ([b], bank.made[1])


def test_who_is_first_stays_first_though_no_connection_can_be_made() -> None:
    bank = Bank(1)
    a, b = bank.borrowers(2)
    bank.refuses = True
    with pytest.raises(ValueError, match="none today"):
        bank.ask(a)
    bank.refuses = False
    assert not bank.ask(b)
    assert bank.woken == [a]


def test_giving_back_twice_is_giving_back_once() -> None:
    bank = Bank(1)
    a, b, c = bank.borrowers(3)
    bank.ask(a)
    a.give_back()
    a.give_back()
    a.close()
    assert [bank.ask(each) for each in (b, c)] == [True, False]


def test_closing_closes_what_lies_idle() -> None:
    bank = Bank(2)
    a, b = bank.borrowers(2)
    bank.ask(a)
    bank.ask(b)
    a.give_back()
    bank.lender.close()
    assert [made.closed for made in bank.made] == [1, 0]
