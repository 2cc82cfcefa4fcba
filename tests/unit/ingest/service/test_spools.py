"""The spools of the feeds: opened all together, or refused all together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingest.service.spools import open_spools, owner_of
from settings.model import FeedSettings, Settings
from settings.problems import SettingsError


def feed(name: str, folder: Path | None) -> FeedSettings:
    spool: Any = None if folder is None else {"directory": str(folder)}
    return FeedSettings(name=name, url="ws://127.0.0.1:1/", actor="handle", spool=spool)


@pytest.fixture
def unusable(tmp_path: Path) -> Path:
    """A folder that cannot be made, whoever asks: a file is in its way."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "spool"


def test_every_feed_with_a_spool_gets_one_of_its_own(tmp_path: Path) -> None:
    opened = open_spools([feed("a", tmp_path), feed("none", None), feed("b", tmp_path)], "us")
    assert list(opened) == ["a", "b"]
    for name, each in opened.items():
        assert list(tmp_path.glob(f"{name}.*"))
        each.spool.close()


def test_all_that_cannot_be_used_are_told_at_once_and_nothing_stays_open(tmp_path: Path, unusable: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    with pytest.raises(SettingsError) as refused:
        open_spools([feed("a", unusable), feed("b", good), feed("c", unusable)], "us")
    assert [problem.path for problem in refused.value.problems] == ["feeds.a.spool.directory", "feeds.c.spool.directory"]
    # A spool that had stayed open would still have its slot: another would get the next.
    again = open_spools([feed("b", good)], "us")["b"]
    again.spool.close()
    assert {path.name for path in good.glob("*.lock")} == {"b.0.lock"}


def test_whose_feeds_they_are_is_told_by_namespace_and_group() -> None:
    settings = Settings.model_validate({"broker": {"url": "redis://127.0.0.1:1/0", "namespace": "shop"}})
    assert owner_of(settings) == "namespace shop"
    grouped = settings.supervisor.model_copy(update={"group": "live"})
    assert owner_of(settings.model_copy(update={"supervisor": grouped})) == "namespace shop, group live"
