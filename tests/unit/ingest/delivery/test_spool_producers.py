"""The producers of a spool: known in order, and what a disk refused goes with the next write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.delivery.entry import Entry
from ingest.delivery.spool_file import SpoolFile
from ingest.delivery.spool_producers import SpoolProducers
from ingest.delivery.spool_rows import ChunkRows, Producer
from ingest.errors import SpoolFull


class Kept:
    """A file, what this process knows of its producers, and how durably each write was asked for."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = SpoolFile(path, "batch")
        self.rows = ChunkRows(self.file)
        self.producers = SpoolProducers(self.rows)
        self.durable: list[bool] = []
        self.refuses = False
        write = self.file.write

        def written(work: object, *, durable: bool = False, ballast: bool = False) -> object:
            if self.refuses:
                raise SpoolFull(str(path), "the disk is full")
            self.durable.append(durable)
            return write(work, durable=durable, ballast=ballast)  # type: ignore[arg-type, type-var]

        monkeypatch.setattr(self.file, "write", written)

    def known(self) -> list[tuple[str, int | None, bool]]:
        return [(one.id, one.epoch, one.late) for one in self.producers]

    def in_file(self) -> tuple[list[tuple[str, int | None, bool]], str]:
        """Return what another process would find."""
        found = SpoolProducers(self.rows)
        found.load(self.file)
        return [(one.id, one.epoch, one.late) for one in found], found.leader


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    kept = Kept(tmp_path / "trades.0.spool", monkeypatch)
    yield kept
    kept.file.close(unlink=True)


def test_candidates_are_stored_durably_in_their_order_and_once(kept: Kept) -> None:
    for name in ("b", "a", "b"):
        kept.producers.add(name)
    assert kept.known() == [("b", None, False), ("a", None, False)]
    assert kept.in_file() == (kept.known(), "")
    assert kept.durable == [True, True]


def test_a_run_is_never_given_twice_also_by_the_next_process(kept: Kept) -> None:
    kept.producers.add("a")
    run = kept.producers["a"].run
    kept.producers.forget("a")
    again = SpoolProducers(kept.rows)
    again.load(kept.file)
    again.add("b")
    assert again["b"].run > run


def test_a_lead_is_durable_at_once_only_where_messages_wait_for_it(kept: Kept) -> None:
    kept.producers.add("a")
    kept.producers.lead("a", 1)
    assert (kept.durable[-1], kept.in_file()) == (False, ([("a", 1, False)], "a"))
    kept.producers.write_unsaved()
    assert kept.durable[-1], "and by the next write all the same"
    written = len(kept.durable)
    kept.producers.write_unsaved()
    assert len(kept.durable) == written, "of which there is no need then"
    kept.rows.append(kept.producers["a"].run, [Entry(1, 1, "trades", b"id", b"data", 0)], final=False)
    kept.producers.lead("b", 2)
    assert kept.durable[-1]


def test_what_leads_elsewhere_is_the_leader_and_no_producer_of_the_file(kept: Kept) -> None:
    kept.producers.add("a")
    kept.producers.lead("another", 7, forgotten=["a"])
    assert kept.in_file() == ([], "another")
    assert kept.known() == []


def test_what_the_disk_refused_is_known_and_goes_with_the_next_write(kept: Kept) -> None:
    kept.producers.add("a")
    kept.refuses = True
    for refused in (
        lambda: kept.producers.add("b"),
        lambda: kept.producers.lead("b", 3),
        lambda: kept.producers.mark_late(["a"]),
        lambda: kept.producers.write_unsaved(),
    ):
        with pytest.raises(SpoolFull):
            refused()
    assert kept.known() == [("a", None, True), ("b", 3, False)]
    assert kept.in_file() == ([("a", None, False)], "")
    kept.refuses = False
    kept.producers.write_unsaved()
    assert kept.in_file() == (kept.known(), "b")


def test_they_may_be_forgotten_while_one_goes_through_them(kept: Kept) -> None:
    for name in ("a", "b", "c"):
        kept.producers.add(name)
    for one in kept.producers:
        kept.producers.forget(one.id)
    assert (kept.known(), kept.in_file()) == ([], ([], ""))


def test_a_new_file_gets_all_rows_and_until_then_all_is_unsaved(kept: Kept) -> None:
    kept.producers.add("a")
    kept.producers.lead("a", 4)
    assert kept.producers.tables() == {"producer": [Producer(1, "a", 4).row()], "leader": [(1, "a")]}
    kept.producers.note_unsaved()
    kept.file.begin_anew({}, keep_old=False)
    assert kept.in_file() == ([], "")
    kept.producers.write_unsaved()
    assert kept.in_file() == ([("a", 4, False)], "a")
