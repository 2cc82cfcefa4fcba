"""Whose ``settings`` is imported."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from workers import origin
from workers.origin import claim_settings, exit_with


def test_ours_is_taken_where_it_is_already_imported() -> None:
    before = list(sys.path)

    claim_settings()

    assert sys.path == before
    assert Path(str(sys.modules["settings"].__file__)).parent.parent == origin.ROOT


@pytest.mark.parametrize("where", ["/elsewhere/settings.py", None], ids=["a file", "none"])
def test_a_foreign_one_is_refused_by_its_place(monkeypatch: pytest.MonkeyPatch, where: str | None) -> None:
    foreign = ModuleType("settings")
    foreign.__file__ = where
    monkeypatch.setitem(sys.modules, "settings", foreign)

    with pytest.raises(ImportError, match=r"/elsewhere/settings\.py" if where else "elsewhere") as refused:
        claim_settings()

    assert "rename that module" in str(refused.value)


def test_inside_the_command_it_is_an_exit_with_a_text(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    foreign = ModuleType("settings")
    monkeypatch.setitem(sys.modules, "settings", foreign)
    monkeypatch.setitem(sys.modules, "dramatiq.cli", ModuleType("dramatiq.cli"))

    with pytest.raises(SystemExit) as ended:
        claim_settings()

    assert ended.value.code == 1
    assert capfd.readouterr().err.startswith("workers: the module 'settings' is already imported from elsewhere")


def test_the_text_reaches_the_real_standard_error(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stderr", None)

    with pytest.raises(SystemExit) as ended:
        exit_with("no such café")

    assert ended.value.code == 1
    assert capfd.readouterr().err == "workers: no such café\n"
