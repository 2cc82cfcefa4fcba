"""The store: several spools addressed by producer, and no failure of a disk as an exception."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.delivery.spool import Spool
from ingest.delivery.store import REFUSAL, STANDING, Store
from ingest.errors import SpoolDamaged, SpoolFull, SpoolUnusable
from ingest.events import Event, GapFound, SpoolTrouble
from tests.support.backlogs import damage, kept_store
from tests.support.connections import ManualClock
from tests.support.spools import LARGE, entries, numbers


class Folder:
    """A folder of spools, and what was told of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self.clock = ManualClock()
        self.stores: list[Store] = []

    def store(self, *, most: int = LARGE) -> Store:
        store = kept_store(self.path, self.events, self.clock, most=most)
        self.stores.append(store)
        return store

    def left_behind(self, producer: str, epoch: int, last: int, gaps: tuple[bytes, ...] = ()) -> Store:
        """Return the store of a process that led, stored numbers up to ``last``, and is still there."""
        store = self.store()
        store.add(producer)
        store.led(producer, epoch)
        if last:
            assert store.append(producer, entries(1, last))
        if gaps:
            store.save_gaps(gaps)
        return store

    def names(self) -> list[str]:
        return sorted(each.name for each in self.path.glob("*.spool"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def raising(error: type[Exception]) -> object:
    def method(self: Spool, *arguments: object, **options: object) -> None:
        raise error(str(self.path), "for the test")

    return method


class TestRestart:
    def test_what_an_earlier_process_left_is_found_once(self, folder: Folder) -> None:
        folder.left_behind("a", 3, 5).close()
        store = folder.store()
        [left] = store.earlier()
        assert (left.id, left.epoch, left.messages) == ("a", 3, 5)
        assert store.earlier() == []
        assert numbers(store.read("a", 2, 9, 1000)) == [3, 4, 5]
        assert store.size > 0

    def test_the_newest_that_led_is_known_though_nothing_of_it_is_left(self, folder: Folder) -> None:
        folder.left_behind("a", 3, 0).close()
        store = folder.store()
        assert store.newest is not None
        assert (store.newest.id, store.holds("a"), store.holds("b")) == ("a", True, False)
        assert store.earlier() == []

    def test_a_candidate_that_never_led_is_not_the_newest(self, folder: Folder) -> None:
        store = folder.left_behind("a", 3, 2)
        store.add("b")
        store.append("b", entries(1, 1))
        store.close()
        newest = folder.store().newest
        assert newest is not None
        assert newest.id == "a"

    def test_a_file_damaged_meanwhile_is_told_of(self, folder: Folder) -> None:
        folder.left_behind("a", 3, 2).close()
        (folder.path / "trades.0.spool").write_bytes(b"nonsense " * 1000)
        store = folder.store()
        event, gap = folder.events
        assert isinstance(event, SpoolTrouble)
        assert (store.newest, "damaged" in event.detail, event.telemetry_id) == (None, True, "label")
        assert isinstance(gap, GapFound)
        assert (gap.cause, gap.feed, gap.producer, gap.count) == ("damaged", "trades", "", None)


class TestLeads:
    def test_of_those_before_only_who_has_messages_is_kept(self, folder: Folder) -> None:
        store = folder.left_behind("a", 1, 2)
        for producer in ("empty", "held", "leads"):
            store.add(producer)
        store.led("leads", 2, {"held"})
        assert [one.id for one in store._own.producers()] == ["a", "held", "leads"]
        assert not store.holds("empty")

    def test_the_one_that_leads_is_not_forgotten_and_any_other_is(self, folder: Folder) -> None:
        store = folder.left_behind("a", 1, 2)
        store.forget("a")
        assert store.holds("a")
        store.add("b")
        store.led("b", 2)
        store.forget("a")
        store.forget("a")
        assert not store.holds("a")
        assert [one.id for one in store._own.producers()] == ["b"]

    def test_what_waits_beside_the_leaders_own_is_continued_by_it_and_nothing_else_is(self, folder: Folder) -> None:
        folder.left_behind("a", 1, 2).close()
        between = folder.store()
        between.add("b")
        between.led("b", 2)
        between.append("b", entries(1, 1))
        between.close()
        store = folder.store()
        assert store.is_continued_by("a", "b")
        assert not store.is_continued_by("a", "elsewhere")
        assert not store.is_continued_by("nobody", "b")

    def test_late_is_written_down_where_each_is(self, folder: Folder) -> None:
        other, ours = folder.left_behind("a", 1, 2), folder.store()
        other.close()
        ours.add("b")
        ours.adopt()
        ours.mark_late(["a", "b", "unknown"])
        assert [(one.id, one.late) for spool in ours._all() for one in spool.producers()] == [("a", True), ("b", True)]


class TestAdoption:
    def test_a_spool_is_taken_over_when_its_process_is_gone_and_given_back_when_it_is_empty(self, folder: Folder) -> None:
        other, ours = folder.left_behind("a", 1, 3), folder.store()
        ours.add("b")
        assert ours.adopt() == ([], False)
        other.close()
        assert [one.id for one in ours.adopt()[0]] == ["a"]
        assert ours.adopt() == ([], False)
        assert numbers(ours.read("a", 0, 9, 1000)) == [1, 2, 3]
        ours.confirm("a", 3)
        ours.flush()
        assert ours.size == 0
        ours.forget("a")
        assert folder.names() == ["trades.1.spool"]

    def test_one_that_held_nothing_but_its_leader_goes_when_we_lead(self, folder: Folder) -> None:
        other, ours = folder.left_behind("a", 7, 0), folder.store()
        other.close()
        assert ours.adopt() == ([], True)
        assert ours.holds("a")
        assert ours.newest is not None
        assert ours.newest.id == "a"
        ours.add("b")
        ours.led("b", 8)
        assert folder.names() == ["trades.1.spool"]

    def test_gap_records_found_there_outlive_what_is_stored_at_our_end(self, folder: Folder) -> None:
        first = folder.left_behind("a", 1, 1, gaps=(b"theirs",))
        ours = folder.store()
        ours.save_gaps([b"earlier"])
        first.close()
        ours.adopt()
        assert ours.take_gaps() == [b"earlier", b"theirs"]
        assert ours.save_gaps([b"unwritten"])
        for spool in ours._adopted:
            assert spool.take_gaps() == []
        ours.close()
        heir = folder.store()
        heir.adopt()
        assert heir.take_gaps() == [b"unwritten"], "what was taken is written, or came back as unwritten"

    def test_gap_records_that_ours_does_not_take_stay_where_they_are(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = folder.left_behind("a", 1, 1, gaps=(b"theirs",))
        ours = folder.store()
        first.close()
        save = Spool.save_gaps

        def full(self: Spool, records: list[bytes]) -> None:
            if self is ours._own:
                raise SpoolFull(str(self.path), "for the test")
            save(self, records)

        monkeypatch.setattr(Spool, "save_gaps", full)
        ours.adopt()
        ours.close()
        assert folder.store().take_gaps() == [b"theirs"]

    def test_a_spool_of_gap_records_alone_is_emptied_and_removed(self, folder: Folder) -> None:
        first = folder.store()
        first.save_gaps([b"theirs"])
        ours = folder.store()
        first.close()
        ours.adopt()
        assert (folder.names(), ours.take_gaps()) == (["trades.1.spool"], [b"theirs"])

    def test_a_folder_that_cannot_be_listed_is_told_of(self, folder: Folder) -> None:
        store = folder.store()

        os.rename(folder.path, folder.path.with_name("elsewhere"))
        assert not store.look_for_more()
        assert store.adopt() == ([], False)
        assert [type(event) for event in folder.events] == [SpoolTrouble, SpoolTrouble]


class TestDiskFailures:
    @pytest.mark.parametrize("error", [SpoolFull, SpoolUnusable])
    def test_a_disk_that_refuses_is_full_until_it_is_tried_again(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        store = folder.left_behind("a", 1, 1)
        with monkeypatch.context() as broken:
            broken.setattr(Spool, "append", raising(error))
            assert not store.append("a", entries(2, 3))
        assert (store.is_full, store.has_room_again) == (True, False)
        folder.clock.now += REFUSAL
        assert (store.is_full, store.has_room_again) == (False, True)
        assert "for the test" in store.trouble, "whether it would take something now nobody knows"
        assert store.append("a", entries(2, 3))
        assert store.trouble == ""

    def test_a_refusal_stands_while_it_is_repeated_and_a_minute_longer(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = folder.left_behind("a", 1, 1)
        assert store.trouble == ""
        monkeypatch.setattr(Spool, "append", raising(SpoolFull))
        for _ in range(2):
            assert not store.append("a", entries(2, 3))
            folder.clock.now += STANDING - 1
            assert "for the test" in store.trouble
        folder.clock.now += 1
        assert store.trouble == ""

    def test_its_own_limit_is_no_trouble(self, folder: Folder) -> None:
        store = folder.store(most=1000)
        store.add("a")
        held = 0
        while store.append("a", entries(held + 1, held + 1, size=200)) and not store.is_full:
            held += 1
        assert store.trouble == ""

    def test_what_goes_makes_room_at_once(self, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
        for make_room in (
            lambda store: (store.confirm("a", 1), store.flush()),
            lambda store: store.drop_oldest("a", 0, 1),
        ):
            store = folder.left_behind("a", 1, 1)
            with monkeypatch.context() as broken:
                broken.setattr(Spool, "append", raising(SpoolFull))
                assert not store.append("a", entries(2, 3))
            make_room(store)
            assert not store.is_full
            assert store.trouble == ""

    def test_it_is_full_by_its_own_limit_and_has_room_well_below_it(self, folder: Folder) -> None:
        store = folder.store(most=1000)
        store.add("a")
        held = 0
        while not store.is_full:
            held += 1
            assert store.append("a", entries(held, held, size=200))
        assert store.size >= 1000
        assert not store.append("a", entries(held + 1, held + 1))
        store.confirm("a", 1)
        store.flush()
        assert (store.is_full, store.has_room_again) == (False, False)
        store.confirm("a", held - 1)
        store.flush()
        assert store.has_room_again

    def test_damage_found_by_a_write_is_repaired_and_the_write_done(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, gone = folder.left_behind("a", 1, 2), list[str]()
        store.gone = gone.append
        append, failures = Spool.append, [SpoolDamaged("f", "for the test")]

        def damaged_once(self: Spool, *arguments: object, **options: object) -> None:
            if failures:
                raise failures.pop()
            append(self, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Spool, "append", damaged_once)
        assert store.append("a", entries(3, 4))
        assert gone == ["a"]
        assert numbers(store.read("a", 0, 9, 1000)) == [3, 4]

    def test_damage_found_by_a_read_sets_the_file_aside_and_all_its_producers_are_told(self, folder: Folder) -> None:
        store, gone = folder.left_behind("a", 1, 2), list[str]()
        store.gone = gone.append
        store.add("b")
        damage(store._own)
        assert store.read("a", 0, 9, 1000) == []
        assert gone == ["a", "b"]
        assert [type(event) for event in folder.events] == [SpoolTrouble]
        assert store.append("b", entries(1, 1))

    @pytest.mark.parametrize("damage", ["data = CAST(data AS TEXT)", "data = 17", "crc = 'x'"])
    def test_a_value_of_another_type_is_damage_too(self, folder: Folder, damage: str) -> None:
        store = folder.left_behind("a", 1, 2)
        store._own._file.write(lambda connection: connection.execute("UPDATE chunk SET " + damage))
        assert store.read("a", 0, 9, 1000) == []
        assert len(folder.events) == 1

    @pytest.mark.parametrize("error", [SpoolFull, SpoolUnusable, SpoolDamaged])
    def test_no_failure_gets_out(self, folder: Folder, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
        store = folder.left_behind("a", 1, 2, gaps=(b"g",))
        methods = "add lead mark_late append read confirm flush drop_oldest reject forget take_gaps save_gaps producers"
        for name in methods.split():
            if name != "confirm":  # touches no disk
                monkeypatch.setattr(Spool, name, raising(error))
        store.add("b")
        store.led("b", 2)
        store.mark_late(["a"])
        assert not store.append("a", entries(3, 3))
        assert store.read("a", 0, 9, 1000) == []
        store.confirm("a", 1)
        store.flush()
        assert store.drop_oldest("a", 0, 1) == []
        store.reject("a", entries(2, 2)[0], "no")
        store.forget("a")
        assert store.take_gaps() == []
        assert not store.save_gaps([b"g"])
        assert any(isinstance(event, SpoolTrouble) for event in folder.events)
