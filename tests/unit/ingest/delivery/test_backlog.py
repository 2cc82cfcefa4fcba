"""The backlog: first in, first out, chain after chain; nothing is let go of that is not confirmed or counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.delivery.backlog import Saved
from ingest.delivery.entry import Entry
from tests.support.backlogs import KeptBacklog
from tests.support.spools import entries, numbers
from tests.support.waiting import wait_until


class TestOneChain:
    def test_what_is_taken_stays_until_it_is_committed(self) -> None:
        kept = KeptBacklog()
        kept.put(entries(1, 5))
        assert kept.take(3) == [1, 2, 3]
        assert (len(kept.backlog), kept.backlog.size) == (5, 50)
        assert kept.commit(2) == [1, 2]
        assert (len(kept.backlog), kept.backlog.size) == (3, 30)

    def test_reject_gives_up_only_the_next_entry_and_only_if_it_is_the_one_named(self) -> None:
        kept = KeptBacklog()
        kept.put(entries(1, 3))
        assert not kept.backlog.reject(kept.chain, 2, "no")
        assert kept.backlog.reject(kept.chain, 1, "no")
        assert kept.take() == [2, 3]
        assert (len(kept.backlog), kept.backlog.size) == (2, 20)
        assert (kept.losses.counts, kept.dropped()) == ({"rejected": 1}, [(1, 1, 1)])

    def test_knows_the_oldest_entry_whether_taken_or_not(self) -> None:
        kept = KeptBacklog()
        assert kept.backlog.oldest_us is None
        kept.put(entries(1, 3))
        assert kept.backlog.oldest_us == 1_000_001
        kept.take(2)
        assert kept.backlog.oldest_us == 1_000_001
        kept.commit(2)
        assert kept.backlog.oldest_us == 1_000_003

    def test_knows_the_oldest_that_waits_on_disk_where_nothing_is_in_memory(self, tmp_path: Path) -> None:
        left = KeptBacklog(tmp_path, write_ahead=True)
        left.put(entries(5, 9))
        assert left.backlog.spool_size > 0
        left.backlog.save(keeps=True)
        left.backlog.close()

        kept = KeptBacklog(tmp_path, producer="q", epoch=2)
        assert (kept.backlog.oldest_us, kept.backlog.oldest_held_us) == (None, 1_000_005)
        kept.put(entries(1, 1))  # of the younger chain
        assert kept.backlog.oldest_held_us == 1_000_005
        [first, _] = kept.backlog.chains
        assert [entry.seq for entry in kept.backlog.take(first, 3, 1_000_000)] == [5, 6, 7]
        kept.backlog.commit(first, 6)
        assert kept.backlog.oldest_held_us == 1_000_007
        kept.backlog.close()
        assert kept.backlog.oldest_held_us == 1_000_007

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["put", "take", "commit", "rewind"]), st.integers(1, 7)), max_size=60))
    def test_behaves_as_a_list_with_a_cursor(self, steps: list[tuple[str, int]]) -> None:
        kept, model, cursor, seq = KeptBacklog(), list[int](), 0, 0
        for what, amount in steps:
            if what == "put":
                kept.put(entries(seq + 1, seq + amount))
                model += range(seq + 1, seq + amount + 1)
                seq += amount
            elif what == "take":
                assert kept.take(amount) == model[cursor : cursor + amount]
                cursor = min(len(model), cursor + amount)
            elif what == "commit" and model:
                upto = model[0] + amount - 1
                done = [each for each in model[:cursor] if each <= upto]
                assert kept.commit(upto) == done
                model, cursor = model[len(done) :], cursor - len(done)
            else:
                kept.backlog.rewind(kept.chain)
                cursor = 0
            assert (len(kept.backlog), kept.backlog.size) == (len(model), 10 * len(model))
        kept.backlog.rewind(kept.chain)
        assert kept.take() == model


class TestRoom:
    def test_is_full_by_messages_and_takes_the_rest_of_a_read_all_the_same(self) -> None:
        kept = KeptBacklog(messages=10)
        kept.put(entries(1, 9))
        assert kept.backlog.has_room()
        kept.put(entries(10, 14))
        assert not kept.backlog.has_room()
        assert kept.take() == list(range(1, 15))

    def test_is_full_by_bytes(self) -> None:
        kept = KeptBacklog(size=100)
        kept.put(entries(1, 1, size=99))
        assert kept.backlog.has_room()
        kept.put(entries(2, 2, size=1))
        assert not kept.backlog.has_room()

    def test_is_told_of_once_and_only_well_below_the_limit(self) -> None:
        kept = KeptBacklog(messages=100)
        kept.put(entries(1, 100))
        kept.take()
        kept.commit(24)
        assert (kept.rooms, kept.backlog.has_room()) == (0, False)
        kept.commit(25)
        assert (kept.rooms, kept.backlog.has_room()) == (1, True)
        kept.commit(90)
        assert kept.rooms == 1

    def test_comes_with_what_is_given_up_too(self) -> None:
        for give_up in (
            lambda kept: kept.backlog.reject(kept.chain, 1, "no"),
            lambda kept: kept.backlog.discard(kept.chain, "fenced"),
        ):
            kept = KeptBacklog(messages=1)
            kept.put(entries(1, 1))
            assert not kept.backlog.has_room()
            give_up(kept)
            assert (kept.rooms, kept.backlog.has_room()) == (1, True)

    def test_is_always_there_where_what_has_no_place_is_given_up(self) -> None:
        kept = KeptBacklog(messages=2, overflow="drop_newest")
        kept.put(entries(1, 5))
        assert kept.backlog.has_room()


class TestWaiting:
    @pytest.mark.parametrize(
        "end",
        [
            lambda kept: kept.backlog.wake(),
            lambda kept: kept.put(entries(1, 1)),
            lambda kept: kept.backlog.fence(),
            lambda kept: kept.backlog.end(kept.chain),
            lambda kept: kept.backlog.close(),
        ],
        ids=["wake", "put", "fence", "end", "close"],
    )
    def test_ends_with_whatever_there_is_to_do(self, end: Callable[[KeptBacklog], object]) -> None:
        kept, ended = KeptBacklog(), threading.Event()
        kept.backlog.wait(0)  # for the opening of its chain

        def wait() -> None:
            kept.backlog.wait(30)
            ended.set()

        thread = threading.Thread(target=wait)
        thread.start()
        end(kept)
        wait_until(ended.is_set, 10, "the end of the wait")
        thread.join(10)


class TestChains:
    def test_go_on_in_their_order(self) -> None:
        kept = KeptBacklog()
        second = kept.lead("q", 2)
        kept.backlog.put(second, entries(1, 2))
        kept.put(entries(1, 2))
        assert kept.backlog.chains == [kept.chain, second]
        assert kept.backlog.first is kept.chain
        assert kept.deliver_all() == [1, 2, 1, 2]
        kept.backlog.finish(kept.chain)
        assert kept.backlog.first is second

    def test_fenced_all_that_is_held_is_late_and_what_comes_under_the_next_lease_is_not(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path)
        kept.put(entries(1, 3))
        assert kept.backlog.fence() == 3
        assert kept.chain.late
        assert [(one.id, one.late) for one in kept.spool.producers()] == [("p", True)]
        assert not kept.lead("q", 2).late

    def test_one_that_is_over_is_forgotten_on_disk_too(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path)
        kept.put(entries(1, 3))
        kept.deliver_all()
        kept.lead("q", 2)
        kept.backlog.finish(kept.chain)
        assert [one.id for one in kept.spool.producers()] == ["q"]

    def test_the_disk_has_nothing_of_one_that_is_cleared_though_it_stays_known(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, write_ahead=True)
        kept.put(entries(1, 3))
        kept.deliver_all()
        assert [(one.id, one.messages) for one in kept.spool.producers()] == [("p", 3)], "to delete is not urgent"
        assert kept.backlog.clear(kept.chain)
        assert [(one.id, one.messages) for one in kept.spool.producers()] == [("p", 0)]
        assert kept.spool.size == 0

    def test_without_a_disk_nothing_is_to_be_cleared(self) -> None:
        kept = KeptBacklog()
        assert kept.backlog.clear(kept.chain)

    def test_one_that_is_held_in_memory_alone_is_not_forgotten_by_the_next_lease(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=5)
        kept.put(entries(1, 3))
        kept.backlog.fence()
        kept.lead("q", 2)
        kept.put(entries(4, 6))
        kept.put(entries(7, 8))  # to the disk, by a feed that has not yet heard of its next lease
        assert kept.backlog.save(keeps=True) == Saved(8, 0)
        kept.backlog.close()
        again = KeptBacklog(tmp_path, producer="r")
        assert [(chain.producer, chain.late) for chain in again.backlog.chains[:-1]] == [("p", True)]
        assert again.deliver_all() == list(range(1, 9))

    def test_discarded_nothing_of_it_is_left_and_everything_is_counted(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=3)
        kept.put(entries(1, 3))
        kept.put(entries(4, 9))
        assert kept.backlog.discard(kept.chain, "fenced") == 9
        assert (len(kept.backlog), kept.chain.is_empty, kept.losses.counts) == (0, True, {"fenced": 9})
        assert kept.dropped() == [(1, 9, 9)]


class TestEnd:
    def test_closed_it_takes_nothing_more_and_what_is_held_can_be_taken(self) -> None:
        kept = KeptBacklog()
        kept.put(entries(1, 3))
        kept.backlog.close()
        kept.put(entries(4, 5))
        assert kept.take() == [1, 2, 3]

    def test_without_a_disk_all_that_is_held_is_lost_counted_and_told(self) -> None:
        kept = KeptBacklog()
        kept.put(entries(1, 5))
        kept.take(2)
        kept.commit(1)
        assert kept.backlog.save(keeps=True) == Saved(0, 4)
        assert (kept.losses.counts, kept.dropped()) == ({"lost": 4}, [(2, 5, 4)])
        kept.put(entries(6, 6))
        assert kept.losses.total == 4

    def test_what_is_held_goes_to_the_disk_and_what_is_under_way_too(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=4)
        kept.put(entries(1, 4))
        kept.put(entries(5, 8))
        kept.take(2)
        kept.take(1)
        kept.commit(1)
        assert kept.backlog.save(keeps=True) == Saved(7, 0)
        kept.backlog.close()
        again = KeptBacklog(tmp_path, producer="q")
        [left, _] = again.backlog.chains
        assert (left.producer, left.confirmed, left.unread, left.earlier, left.open) == ("p", 1, 7, True, False)
        assert again.deliver_all() == list(range(2, 9))
        assert kept.losses.total == again.losses.total == 0

    def test_a_disk_that_goes_with_the_process_keeps_nothing(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=2)
        kept.put(entries(1, 2))
        kept.put(entries(3, 6))
        kept.take(1)
        assert kept.backlog.save(keeps=False) == Saved(0, 6)
        assert kept.dropped() == [(1, 6, 6)]
        kept.backlog.close()
        again = KeptBacklog(tmp_path, producer="q")
        assert again.deliver_all() == [], "told as lost, and delivered all the same"

    def test_gap_records_that_redis_does_not_have_are_kept_for_the_next_start(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path)
        assert kept.backlog.save_gaps([b"one", b"two"])
        kept.backlog.close()
        again = KeptBacklog(tmp_path, producer="q")
        assert again.backlog.take_gaps() == [b"one", b"two"]
        assert not KeptBacklog().backlog.save_gaps([b"one"]), "there is no disk"
        assert KeptBacklog().backlog.take_gaps() == []


def noted_writes(kept: KeptBacklog, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that is told of every write to the spool whether it was durable."""
    write, noted = kept.spool._file.write, list[bool]()

    def noting(work: Any, *, durable: bool = False, ballast: bool = False) -> Any:
        noted.append(durable)
        return write(work, durable=durable, ballast=ballast)

    monkeypatch.setattr(kept.spool._file, "write", noting)
    return noted


class TestDisk:
    def test_what_is_confirmed_leaves_it_lazily(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, write_ahead=True)
        kept.backlog.tidy()  # for the opening of its chain
        kept.put(entries(1, 3))
        held = kept.spool.size
        kept.take()
        kept.commit(3)
        kept.backlog.tidy()
        assert kept.spool.size == held
        kept.tidy()
        assert kept.spool.size == 0

    def test_a_lead_is_on_the_disk_with_the_first_tidy_which_is_before_the_first_message(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = KeptBacklog(tmp_path)
        kept.tidy()
        syncs = noted_writes(kept, monkeypatch)
        kept.lead("q", 2)
        assert syncs == [True, False], "the candidate, then the lead"
        kept.backlog.tidy()
        assert syncs == [True, False, True]
        kept.tidy()
        assert syncs == [True, False, True], "and never again"

    def test_where_messages_wait_beside_it_that_are_in_time_a_lead_is_on_the_disk_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = KeptBacklog(tmp_path, write_ahead=True)
        kept.put(entries(1, 3))
        syncs = noted_writes(kept, monkeypatch)
        kept.lead("q", 2)
        assert syncs == [True, True]
        kept.backlog.fence()
        del syncs[:]
        kept.lead("r", 3)
        assert syncs == [True, False], "what is late stays late without it"

    def test_a_rejected_message_is_set_aside_for_a_person_to_look_at(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path)
        kept.put(entries(1, 2))
        kept.backlog.reject(kept.chain, 1, "ERR no")
        assert kept.spool._file.rows("SELECT detail, producer, seq FROM rejected") == [("ERR no", "p", 1)]

    def test_what_an_earlier_process_left_comes_before_ours_in_the_order_of_its_leases(self, tmp_path: Path) -> None:
        for producer, epoch in (("a", 2), ("b", 1)):
            kept = KeptBacklog(tmp_path, producer=producer, epoch=epoch)
            kept.put(entries(1, 2))
            kept.backlog.save(keeps=True)
            kept.backlog.close()
        kept = KeptBacklog(tmp_path, producer="c", epoch=3)
        kept.put(entries(1, 1))
        assert [chain.producer for chain in kept.backlog.chains] == ["b", "a", "c"]
        assert len(kept.backlog) == 5

    def test_what_a_process_that_died_meanwhile_left_comes_in_when_it_is_looked_for(self, tmp_path: Path) -> None:
        other = KeptBacklog(tmp_path, producer="other")
        ours = KeptBacklog(tmp_path, producer="ours")
        other.put(entries(1, 3))
        ours.backlog.adopt()
        assert [chain.producer for chain in ours.backlog.chains] == ["ours"]
        other.backlog.save(keeps=True)
        other.backlog.close()
        assert not ours.backlog.holds("other")
        ours.backlog.adopt()
        assert ours.backlog.holds("other")
        assert [chain.producer for chain in ours.backlog.chains] == ["other", "ours"]
        assert numbers(ours.backlog.take(ours.backlog.chains[0], 9, 1000)) == [1, 2, 3]


def test_what_is_on_its_way_from_the_disk_into_memory_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks meanwhile would take the backlog of a feed that gave up for empty, and give its lead back."""
    kept = KeptBacklog(tmp_path, messages=2)
    for first in range(1, 10, 2):
        kept.put(entries(first, first + 1))
    kept.take()
    kept.commit(2)
    count_in, counts, threads = kept.backlog._tiers._count_in, list[int](), list[threading.Thread]()

    def look_and_count_in(read: Sequence[Entry]) -> None:
        looking = threading.Thread(target=lambda: counts.append(len(kept.backlog)))
        looking.start()
        looking.join(0.1)
        threads.append(looking)
        count_in(read)

    monkeypatch.setattr(kept.backlog._tiers, "_count_in", look_and_count_in)
    assert kept.take() == list(range(3, 11))
    for looking in threads:
        looking.join(10)
    assert counts == [8]
