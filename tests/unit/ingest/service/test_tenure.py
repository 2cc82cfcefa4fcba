"""A tenure: granted by the keeper, lost through whoever hears of it first, entered by the feed."""

from __future__ import annotations

import pytest

from ingest.connection.gaps import Before
from ingest.delivery.backlog import Chain
from ingest.events import LeaseLost
from ingest.service.tenure import Tenure
from tests.support.backlogs import KeptBacklog
from tests.support.spools import entries

BEFORE = Before("failover", "other", 7, None, 1_000)


class Watched:
    """A tenure, and what it did."""

    def __init__(self) -> None:
        self.kept = KeptBacklog()
        self.entered: list[Chain] = []
        self.changes: list[int] = []
        self.lost = 0
        self.tenure = Tenure(
            "label",
            self.kept.backlog,
            enter=self.entered.append,
            changed=lambda: self.changes.append(self.tenure.tenure),
            publish=self.kept.events.append,
        )
        self.tenure.on_lost = self._lost

    def _lost(self) -> None:
        self.lost += 1


def test_without_a_lease_nobody_leads_and_nothing_is_entered() -> None:
    watched = Watched()
    tenure = watched.tenure
    assert (tenure.tenure, tenure.producer, tenure.leader, tenure.chain) == (0, "", "", None)
    assert tenure.enter() is None
    assert watched.entered == []


def test_a_lease_is_told_and_belongs_to_whoever_enters_it() -> None:
    watched = Watched()
    tenure, chain = watched.tenure, watched.kept.chain
    tenure.granted(chain, BEFORE)
    assert (watched.changes, tenure.leader, tenure.chain) == ([1], "p", chain)
    assert tenure.producer == "", "nothing was emitted under it yet"
    assert tenure.enter() == BEFORE
    assert (tenure.producer, watched.entered) == ("p", [chain])


def test_whoever_publishes_is_woken_by_a_lease_for_what_earlier_processes_left(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    woken: list[str] = []
    monkeypatch.setattr(watched.kept.backlog, "wake", lambda: woken.append(watched.tenure.leader))
    watched.tenure.granted(watched.kept.chain, None)
    assert woken == ["p"], "not before it may publish"


def test_given_back_what_is_held_is_not_late_for_that() -> None:
    watched = Watched()
    tenure, kept = watched.tenure, watched.kept
    kept.put(entries(1, 3))
    tenure.granted(kept.chain, None)
    tenure.enter()
    tenure.resigned("other")
    assert tenure.leader == "p"
    tenure.resigned("p")
    assert not kept.chain.late
    [event] = kept.events
    assert isinstance(event, LeaseLost)
    assert (event.leader, event.held, tenure.leader, watched.lost) == ("", 3, "", 1)


def test_fenced_what_is_held_is_late_and_it_is_told_once() -> None:
    watched = Watched()
    tenure, kept = watched.tenure, watched.kept
    kept.put(entries(1, 3))
    tenure.granted(kept.chain, None)
    tenure.enter()
    tenure.fenced("p", "other")
    tenure.fenced("p", "other")
    assert kept.chain.late
    [event] = kept.events
    assert isinstance(event, LeaseLost)
    assert (event.telemetry_id, event.leader, event.held) == ("label", "other", 3)
    assert (tenure.tenure, tenure.leader, watched.changes, watched.lost) == (0, "", [1, 0], 1)
    assert tenure.producer == "p", "what is read until the connection is closed is still its own"
    assert tenure.enter() is None


def test_a_word_about_an_earlier_lease_is_none_about_this_one() -> None:
    watched = Watched()
    tenure, kept = watched.tenure, watched.kept
    tenure.granted(kept.chain, None)
    tenure.fenced("p")
    second = kept.lead("q", 2)
    tenure.granted(second, None)
    tenure.fenced("p")
    assert (tenure.tenure, tenure.leader, second.late, watched.lost) == (2, "q", False, 1)


def test_every_lease_has_its_own_number() -> None:
    watched = Watched()
    for name in ("a", "b", "c"):
        watched.tenure.granted(watched.kept.lead(name, 1), None)
        watched.tenure.fenced(name)
    assert watched.changes == [1, 0, 2, 0, 3, 0]
