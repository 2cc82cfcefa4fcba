"""Foreign modules before ours on Python's path."""

from __future__ import annotations

import sys

import pytest

from ingest.service import shadow
from ingest.service.shadow import ROOT, find_foreign, foreign_workers, refuse_foreign_settings


def test_ours_are_not_foreign():
    for module in ("ingest", "settings", "workers"):
        assert find_foreign(module, [str(ROOT)]) is None


def test_what_is_nowhere_is_not_foreign(tmp_path):
    assert find_foreign("settings", [str(tmp_path)]) is None


@pytest.mark.parametrize("name", ["settings.py", "settings/__init__.py"])
def test_a_module_or_package_of_the_same_name_is(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert find_foreign("settings", [str(tmp_path), str(ROOT)]) == path
    assert find_foreign("settings", [str(ROOT), str(tmp_path)]) is None


def test_a_mere_folder_of_the_same_name_shadows_nothing(tmp_path):
    (tmp_path / "settings").mkdir()
    assert find_foreign("settings", [str(tmp_path), str(ROOT)]) is None


def test_the_workers_that_the_dramatiq_command_finds_are_those_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT)])
    monkeypatch.chdir(tmp_path)
    assert foreign_workers() is None
    (tmp_path / "workers.py").touch()
    assert foreign_workers() == tmp_path / "workers.py"


def test_the_process_ends_with_a_sentence_and_2(tmp_path, monkeypatch, capsys):
    (tmp_path / "settings.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(ROOT)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        refuse_foreign_settings()
    assert caught.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"settings.py shadows the module 'settings' of dramatiq-websocket in {shadow.ROOT}"
    assert second.startswith("  rename it, or use the command dramatiq-websocket")


def test_nothing_happens_where_ours_comes_first(tmp_path, monkeypatch):
    (tmp_path / "settings.py").touch()
    monkeypatch.setattr(sys, "path", [str(ROOT), str(tmp_path)])
    refuse_foreign_settings()
