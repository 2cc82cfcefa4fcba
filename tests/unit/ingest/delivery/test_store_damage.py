"""Damage that is found between a spool's opening and its chains: nobody can count it yet, and it is recorded all the same."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from ingest.delivery.spool import Spool
from ingest.errors import SpoolDamaged
from ingest.events import GapFound
from tests.support.backlogs import KeptBacklog
from tests.support.spools import crash, entries, opened


class TestDamage:
    @pytest.mark.parametrize("where", ["producers", "take_gaps"])
    def test_of_one_taken_over_is_recorded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
        left = opened(tmp_path, "a")
        left.append("a", entries(1, 9))
        own = KeptBacklog(tmp_path, producer="p")
        crash(left)
        break_once(monkeypatch, where, at=2 if where == "producers" else 1)  # the first look is whether there is anything
        assert own.backlog.adopt()
        [gap] = [event for event in own.events if isinstance(event, GapFound)]
        assert (gap.cause, gap.producer, "what was in it is lost" in gap.detail) == ("damaged", "", True)
        assert own.backlog.holds("a"), "its process is dead all the same"
        assert own.backlog.unread == 0
        assert len([path for path in tmp_path.iterdir() if ".damaged-" in path.name]) == 1

    def test_of_our_own_at_the_start_is_recorded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        left = opened(tmp_path, "a")
        left.append("a", entries(1, 9))
        left.close()
        break_once(monkeypatch, "producers")
        own = KeptBacklog(tmp_path, producer="p")
        assert [event.cause for event in own.events if isinstance(event, GapFound)] == ["damaged"]


def break_once(monkeypatch: pytest.MonkeyPatch, method: str, at: int = 1) -> None:
    """Let a spool's method find damage, at its ``at``-th call."""
    calls, real = count(1), getattr(Spool, method)

    def broken(spool: Spool) -> object:
        if next(calls) == at:
            raise SpoolDamaged(str(spool.path), "for the test")
        return real(spool)

    monkeypatch.setattr(Spool, method, broken)
