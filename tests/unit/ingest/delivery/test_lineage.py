"""The chains of a feed: in whose order they go, and which of them a change of lead overtakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.delivery.lineage import Lineage
from ingest.delivery.store import Store
from ingest.events import Event
from tests.support.backlogs import kept_store
from tests.support.spools import entries


class Folder:
    """A feed's folder, and the processes that had it before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []

    def store(self) -> Store:
        return kept_store(self.path, self.events)

    def left_by(self, producer: str, epoch: int, last: int = 3) -> Store:
        """Return the store of a process that led and has messages on disk; it is still there."""
        store = self.store()
        store.add(producer)
        store.led(producer, epoch)
        assert store.append(producer, entries(1, last))
        return store


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def told(lineage: Lineage) -> list[tuple[str, bool, bool]]:
    """Return the chains in order: whose, whether an earlier process left it, whether it is late."""
    return [(chain.producer, chain.earlier, chain.late) for chain in lineage]


def test_without_a_disk_there_is_what_was_opened_in_its_order() -> None:
    lineage = Lineage(None)
    assert (lineage.first, lineage.last, len(lineage), lineage.newest_before) == (None, None, 0, None)
    lineage.propose("a")
    one, two = lineage.open("a", 1), lineage.open("b", 2)
    assert (lineage.first, lineage.last, len(lineage)) == (one, two, 2)
    assert not lineage.holds("a")
    assert not lineage.adopt()
    lineage.remove(one)
    assert list(lineage) == [two]


def test_what_an_earlier_process_left_goes_before_what_is_ours(folder: Folder) -> None:
    folder.left_by("a", 1).close()
    lineage = Lineage(folder.store())
    lineage.propose("b")
    lineage.open("b", 2)
    assert told(lineage) == [("a", True, False), ("b", False, False)]
    assert lineage.holds("a")
    assert lineage.newest_before is not None
    assert (lineage.newest_before.id, lineage.newest_before.messages) == ("a", 3)


def test_what_is_adopted_later_has_its_place_by_its_epoch_and_still_before_ours(folder: Folder) -> None:
    others = [folder.left_by("c", 3), folder.left_by("a", 1), folder.left_by("b", 2)]
    others[0].close()
    lineage = Lineage(folder.store())  # takes the slot that is free now, and with it what waits there
    lineage.propose("d")
    lineage.open("d", 4)
    assert told(lineage) == [("c", True, False), ("d", False, False)]
    assert not lineage.adopt()  # the others still run
    for other in others[1:]:
        other.close()
    assert lineage.adopt()
    assert [chain.producer for chain in lineage] == ["a", "b", "c", "d"]


def test_another_leader_makes_all_late_and_the_next_process_knows(folder: Folder) -> None:
    folder.left_by("a", 1).close()
    store = folder.store()
    lineage = Lineage(store)
    lineage.propose("b")
    lineage.open("b", 2)
    assert store.append("b", entries(1, 2))
    lineage.make_late()
    assert told(lineage) == [("a", True, True), ("b", False, True)]
    store.close()
    assert told(Lineage(folder.store())) == [("a", True, True), ("b", True, True)]


def test_what_waited_with_whoever_led_last_is_not_overtaken(folder: Folder) -> None:
    folder.left_by("a", 1).close()
    lineage = Lineage(folder.store())
    lineage.make_late(but_for="a")
    assert told(lineage) == [("a", True, False)]
    lineage.make_late(but_for="another")
    assert told(lineage) == [("a", True, True)]
    lineage.make_late(but_for="a")
    assert told(lineage) == [("a", True, True)], "for good"


def test_a_chain_that_is_removed_is_gone_from_the_disk_too(folder: Folder) -> None:
    folder.left_by("a", 1).close()
    store = folder.store()
    lineage = Lineage(store)
    (chain,) = lineage
    lineage.remove(chain)
    assert (list(lineage), lineage.holds("a")) == ([], False)
    store.close()
    assert told(Lineage(folder.store())) == []
