"""A chain: in order, nothing let go of that is not committed, and what of it counts as kept."""

from __future__ import annotations

import pytest

from ingest.delivery.chain import Chain
from ingest.delivery.entry import Entry
from ingest.delivery.spool import StoredProducer
from tests.support.spools import entries, numbers


def held(first: int, last: int) -> Chain:
    """Return a chain with these numbers in memory."""
    chain = Chain("p")
    chain.remember(entries(first, last))
    chain.newest = last
    return chain


def test_takes_in_order_and_at_most_what_is_asked_for_but_at_least_one() -> None:
    chain = held(1, 5)
    assert numbers(chain.take(2, 1000)) == [1, 2]
    assert numbers(chain.take(9, 25)) == [3, 4]
    assert numbers(chain.take(9, 1)) == [5], "one that is larger than the limit is taken alone"
    assert chain.take(9, 1000) == []
    assert not chain.has_waiting
    assert not chain.is_empty


def test_commits_up_to_a_number_also_within_a_call_and_over_several() -> None:
    chain = held(1, 9)
    for _ in range(3):
        chain.take(3, 1000)
    assert numbers(chain.commit(2)) == [1, 2]
    assert numbers(chain.commit(7)) == [3, 4, 5, 6, 7]
    assert (chain.confirmed, [numbers(call) for call in chain.taken]) == (7, [[8, 9]])
    assert numbers(chain.commit(9)) == [8, 9]
    assert chain.is_empty


def test_commits_a_message_only_with_its_last_number() -> None:
    chain = Chain("p")
    chain.remember([Entry(1, 10, "q", b"a", b"x", 1), Entry(11, 20, "q", b"b", b"x", 1)])
    chain.take(9, 1000)
    assert chain.commit(9) == []
    assert numbers(chain.commit(10)) == [1]


def test_a_commit_beyond_what_was_taken_lets_go_of_nothing_else() -> None:
    chain = held(1, 4)
    chain.take(2, 1000)
    assert numbers(chain.commit(4)) == [1, 2]
    assert numbers(chain.take(9, 1000)) == [3, 4]


def test_rewound_everything_not_committed_is_taken_again_in_order() -> None:
    chain = held(1, 7)
    chain.take(3, 1000)
    chain.take(2, 1000)
    chain.commit(2)
    chain.rewind()
    assert numbers(chain.take(9, 1000)) == [3, 4, 5, 6, 7]


def test_knows_how_far_it_was_sent() -> None:
    chain = held(1, 7)
    assert chain.sent_to == 0
    chain.take(3, 1000)
    chain.take(2, 1000)
    assert chain.sent_to == 5
    chain.commit(2)
    assert chain.sent_to == 5
    chain.rewind()
    assert (chain.sent_to, chain.furthest) == (2, 5)
    chain.take(1, 1000)
    assert (chain.sent_to, chain.furthest) == (3, 5)


def test_drops_the_oldest_that_wait_and_nothing_that_was_sent() -> None:
    chain = held(1, 6)
    chain.take(2, 1000)
    assert numbers(chain.drop_oldest(1, 0)) == [3]
    assert numbers(chain.drop_oldest(0, 15)) == [4, 5], "each has ten bytes"
    assert numbers(chain.drop_oldest(9, 0)) == [6]
    assert [numbers(call) for call in chain.taken] == [[1, 2]]


def test_drops_between_two_numbers_only_what_waits() -> None:
    chain = held(1, 8)
    chain.take(2, 1000)
    assert numbers(chain.drop_between(1, 4)) == [3, 4]
    assert chain.drop_between(1, 4) == []
    assert chain.drop_between(9, 12) == []
    assert numbers(chain.drop_between(6, 7)) == [6, 7]
    assert numbers(list(chain.waiting)) == [5, 8]


def test_what_is_in_memory_comes_in_the_order_of_its_numbers() -> None:
    chain = held(1, 6)
    chain.take(2, 1000)
    chain.take(1, 1000)
    chain.tail += entries(20, 21)
    assert numbers(list(chain.in_memory())) == [1, 2, 3, 4, 5, 6, 20, 21]


@pytest.mark.parametrize("what", ["waiting", "unread", "tail"])
def test_has_something_to_take_wherever_it_waits(what: str) -> None:
    chain = Chain("p", unread=1) if what == "unread" else Chain("p")
    if what == "waiting":
        chain.remember(entries(1, 1))
    elif what == "tail":
        chain.tail += entries(1, 1)
    assert chain.has_waiting
    assert not chain.is_empty


def test_one_that_an_earlier_process_left_is_complete_and_begins_after_what_was_confirmed() -> None:
    chain = Chain.left_by(StoredProducer("old", 7, 40, True, 12, 999, 35, 52))
    assert (chain.producer, chain.epoch, chain.confirmed, chain.read_to, chain.unread) == ("old", 7, 40, 40, 12)
    assert (chain.late, chain.earlier, chain.open, chain.newest) == (True, True, False, 52)
    assert Chain.left_by(StoredProducer("never led", None, 0, False, 1, 9, 1, 1)).epoch == 0


def test_a_commit_moves_on_what_is_to_be_read_from_disk() -> None:
    chain = Chain("old", confirmed=40, unread=20, earlier=True)
    assert chain.commit(50) == []
    assert chain.read_to == 50
    chain.remember(entries(51, 60))
    chain.take(9, 1000)
    chain.commit(52)
    assert chain.read_to == 60


class TestUnkept:
    def test_is_the_first_number_that_will_not_be_delivered(self) -> None:
        chain = held(1, 9)
        chain.note_unkept(5, 6)
        chain.note_unkept(8, 8)
        assert chain.first_unkept == 5
        chain.note_unkept(3, 3)
        assert chain.first_unkept == 3

    def test_of_this_connection_alone(self) -> None:
        chain = held(1, 9)
        chain.note_unkept(5, 6)
        chain.begin_connection()
        assert chain.first_unkept is None
        chain.note_unkept(7, 9)
        assert chain.first_unkept is None
        chain.newest = 20
        chain.note_unkept(8, 12)
        assert chain.first_unkept == 10
