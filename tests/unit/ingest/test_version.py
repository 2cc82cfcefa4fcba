"""Which version runs."""

from importlib.metadata import PackageNotFoundError

from ingest import version
from ingest.version import project_version


def test_a_source_tree_says_its_own_and_any_other_place_that_of_the_distribution(tmp_path, monkeypatch):
    monkeypatch.setattr(version, "version", lambda name: f"7.7 of {name}")
    assert project_version() != "7.7 of dramatiq-websocket"
    assert project_version(tmp_path) == "7.7 of dramatiq-websocket"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "someone-elses"\nversion = "1"\n')
    assert project_version(tmp_path) == "7.7 of dramatiq-websocket"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "dramatiq-websocket"\nversion = "8"\n')
    assert project_version(tmp_path) == "8"


def test_packages_that_were_only_copied_have_none(tmp_path, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(version, "version", missing)
    assert project_version(tmp_path) == "unknown"
