"""What is told while nothing moves, where there is no terminal."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ingest.tools import letters
from ingest.tools.letters import TELL_EVERY, Outcome, Tell, each_batch


def test_a_wait_is_told_when_it_begins_and_once_a_minute_over_all_batches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(letters, "time", SimpleNamespace(monotonic=lambda: now))

    def act(queue: str, ids: list[str], tell: Tell) -> int:
        nonlocal now
        for look in range(2):
            tell(f"waiting for {ids[0]}, look {look}")
            now += TELL_EVERY / 4
        return len(ids)

    outcome = Outcome()
    each_batch("retrying", 3, [("trades", [ident]) for ident in "abc"], act, outcome)
    assert capsys.readouterr().err.splitlines() == ["retrying: waiting for a, look 0", "retrying: waiting for c, look 0"]
    assert outcome.done == 3


def test_nothing_is_told_where_nothing_waits(capsys: pytest.CaptureFixture[str]) -> None:
    each_batch("deleting", 1, [("trades", ["a"])], lambda _, ids, __: len(ids), Outcome())
    assert capsys.readouterr() == ("", "")
