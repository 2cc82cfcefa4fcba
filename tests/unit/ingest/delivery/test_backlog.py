"""The backlog: first in, first out, nothing let go of that is not confirmed."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.delivery.backlog import Backlog, Entry
from tests.support.waiting import wait_until


def entry(seq: int, size: int = 10, last: int | None = None) -> Entry:
    return Entry(seq, last or seq, "trades", b"id%d" % seq, b"x" * size, 1_000 + seq)


def entries(first: int, last: int, size: int = 10) -> list[Entry]:
    return [entry(seq, size) for seq in range(first, last + 1)]


def numbers(batch: list[Entry]) -> list[int]:
    return [each.seq for each in batch]


def test_takes_in_order_and_at_most_what_is_asked_for() -> None:
    backlog = Backlog(100, 10_000)
    backlog.put(entries(1, 5))
    assert numbers(backlog.take(2, 1000)) == [1, 2]
    assert numbers(backlog.take(9, 25)) == [3, 4]
    assert numbers(backlog.take(9, 1)) == [5], "one that is larger than the limit is taken alone"
    assert backlog.take(9, 1000) == []


def test_what_is_taken_stays_until_it_is_committed() -> None:
    backlog = Backlog(100, 10_000)
    backlog.put(entries(1, 5))
    backlog.take(3, 1000)
    assert (len(backlog), backlog.size) == (5, 50)
    assert numbers(backlog.commit(2)) == [1, 2]
    assert (len(backlog), backlog.size) == (3, 30)


def test_commit_beyond_what_was_taken_lets_go_of_nothing_else() -> None:
    backlog = Backlog(100, 10_000)
    backlog.put(entries(1, 4))
    backlog.take(2, 1000)
    assert numbers(backlog.commit(4)) == [1, 2]
    assert numbers(backlog.take(9, 1000)) == [3, 4]


def test_commit_counts_the_last_number_of_a_message() -> None:
    backlog = Backlog(100, 10_000)
    backlog.put([entry(1, last=10), entry(11, last=20)])
    backlog.take(2, 1000)
    assert backlog.commit(9) == []
    assert numbers(backlog.commit(10)) == [1]


def test_rewind_brings_back_everything_not_committed_in_order() -> None:
    backlog = Backlog(100, 10_000)
    backlog.put(entries(1, 7))
    backlog.take(3, 1000)
    backlog.take(2, 1000)
    backlog.commit(2)
    backlog.rewind()
    assert numbers(backlog.take(9, 1000)) == [3, 4, 5, 6, 7]


def test_drop_gives_up_only_the_entry_that_is_named() -> None:
    backlog = Backlog(100, 10_000)
    backlog.put(entries(1, 3))
    assert backlog.drop(2) is None
    assert backlog.drop(1) == entry(1)
    assert numbers(backlog.take(9, 1000)) == [2, 3]
    assert (len(backlog), backlog.size) == (2, 20)


def test_is_full_by_messages_and_takes_the_rest_of_a_read_all_the_same() -> None:
    backlog = Backlog(10, 10_000)
    backlog.put(entries(1, 9))
    assert backlog.has_room()
    assert backlog.put(entries(10, 14))
    assert not backlog.has_room()
    assert len(backlog) == 14


def test_is_full_by_bytes() -> None:
    backlog = Backlog(1000, 100)
    backlog.put([entry(1, size=100)])
    assert not backlog.has_room()


def test_tells_of_room_once_and_only_well_below_the_limit() -> None:
    calls: list[int] = []
    backlog = Backlog(100, 1_000_000)
    backlog.on_room = lambda: calls.append(len(backlog))
    backlog.put(entries(1, 100))
    backlog.take(100, 100_000)
    backlog.commit(24)
    assert (calls, backlog.has_room()) == ([], False)
    backlog.commit(25)
    assert (calls, backlog.has_room()) == ([75], True)
    backlog.commit(90)
    assert calls == [75]


def test_dropping_makes_room_too() -> None:
    calls: list[None] = []
    backlog = Backlog(1, 1_000_000, on_room=lambda: calls.append(None))
    backlog.put(entries(1, 1))
    backlog.drop(1)
    assert (len(calls), backlog.has_room()) == (1, True)


def test_knows_the_oldest_entry_whether_taken_or_not() -> None:
    backlog = Backlog(100, 1000)
    assert backlog.oldest_us is None
    backlog.put(entries(1, 3))
    assert backlog.oldest_us == 1001
    backlog.take(2, 1000)
    assert backlog.oldest_us == 1001
    backlog.commit(2)
    assert backlog.oldest_us == 1003


def test_closed_it_accepts_nothing_and_says_what_is_left() -> None:
    backlog = Backlog(100, 1000)
    backlog.put(entries(1, 3))
    assert backlog.close() == 3
    assert not backlog.put(entries(4, 5))
    assert numbers(backlog.take(9, 1000)) == [1, 2, 3]


def test_a_wait_ends_with_an_entry_and_with_a_wake_up() -> None:
    backlog = Backlog(100, 1000)
    woken = threading.Event()

    def wait() -> None:
        backlog.wait(30)
        woken.set()

    for end in (backlog.wake, lambda: backlog.put(entries(1, 1))):
        woken.clear()
        thread = threading.Thread(target=wait)
        thread.start()
        end()
        wait_until(woken.is_set, 10, "the end of the wait")
        thread.join(10)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "take", "commit", "rewind"]), st.integers(1, 7)), max_size=60))
def test_behaves_as_a_list_with_a_cursor(steps: list[tuple[str, int]]) -> None:
    backlog, model, cursor, seq = Backlog(20, 10_000), list[int](), 0, 0
    for what, amount in steps:
        if what == "put":
            backlog.put(entries(seq + 1, seq + amount))
            model += range(seq + 1, seq + amount + 1)
            seq += amount
        elif what == "take":
            assert numbers(backlog.take(amount, 10_000)) == model[cursor : cursor + amount]
            cursor = min(len(model), cursor + amount)
        elif what == "commit" and model:
            upto = model[0] + amount - 1
            done = [each for each in model[:cursor] if each <= upto]
            assert numbers(backlog.commit(upto)) == done
            model, cursor = model[len(done) :], cursor - len(done)
        else:
            backlog.rewind()
            cursor = 0
        assert (len(backlog), backlog.size) == (len(model), 10 * len(model))
    backlog.rewind()
    assert numbers(backlog.take(1000, 1_000_000)) == model
