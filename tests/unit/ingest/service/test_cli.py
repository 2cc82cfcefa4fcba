"""The command line in this process: options, what is called with what, and exit codes."""

from __future__ import annotations

import importlib
import json
import logging
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ingest.service import cli
from ingest.service.shadow import ROOT
from settings import Problem, SettingsError
from tests.support.settings_files import FEED

TWO_FEEDS = FEED + FEED.replace("trades", "book")


@pytest.fixture
def feeds(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    path = tmp_path / "feeds.toml"
    path.write_text(TWO_FEEDS)
    return path


@pytest.fixture(autouse=True)
def _logging_of_the_process() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def invoke(*arguments: object):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def supervised(monkeypatch) -> list:
    """What the supervisor is called with, in place of running."""
    calls: list = []

    def run(settings, only, *, load):
        assert load() == settings  # what SIGHUP reads is the same file
        calls.append((sorted(settings.feeds), only))
        return 1

    # By its name as a module: the command imports it only when it runs.
    monkeypatch.setattr(importlib.import_module("ingest.service.supervisor"), "run", run)
    return calls


def test_run_runs_what_only_names_and_exits_with_the_supervisors_code(feeds, supervised):
    result = invoke("run", "--feeds", feeds, "--only", "book", "--only", "book")
    assert (result.exit_code, supervised) == (1, [(["book", "trades"], ("book",))])


def test_only_takes_several_names_too_and_names_alone_are_refused_with_the_remedy(feeds, supervised):
    assert invoke("run", "--only", "trades", "book", "--feeds", feeds).exit_code == 1
    assert supervised.pop() == (["book", "trades"], ("trades", "book"))
    result = invoke("run", "--feeds", feeds, "book", "trades")
    assert (result.exit_code, supervised) == (2, [])
    assert "book stands alone; to run some feeds only: --only book trades" in " ".join(result.stderr.split())


def test_run_runs_everything_by_default_and_finds_the_file_in_the_environment(feeds, supervised, monkeypatch):
    monkeypatch.setenv("FEEDS_FILE", str(feeds))
    invoke("run")
    assert supervised == [(["book", "trades"], ())]


def test_an_unknown_feed_is_told_with_the_nearest_known_one(feeds, supervised):
    result = invoke("run", "--feeds", feeds, "--only", "bok", "zzz")
    assert (result.exit_code, supervised) == (2, [])
    assert result.stderr.splitlines() == [
        f"2 problems with the settings ({feeds}):",
        "  --only bok: there is no such feed; did you mean book?",
        "  --only zzz: there is no such feed; there are trades, book",
    ]


def test_what_the_supervisor_finds_wrong_with_the_settings_is_reported_like_the_rest(feeds, monkeypatch):
    def run(settings, only, *, load):
        raise SettingsError([Problem("broker.url", "Redis is unreachable")])

    monkeypatch.setattr(importlib.import_module("ingest.service.supervisor"), "run", run)
    result = invoke("run", "--feeds", feeds)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [f"1 problem with the settings ({feeds}):", "  broker.url: Redis is unreachable"]


def test_a_bug_of_ours_is_not_made_to_look_like_a_mistake_of_the_users(feeds, monkeypatch):
    def run(settings, only, *, load):
        raise ZeroDivisionError

    monkeypatch.setattr(importlib.import_module("ingest.service.supervisor"), "run", run)
    assert isinstance(invoke("run", "--feeds", feeds).exception, ZeroDivisionError)


def test_run_has_nothing_to_do_without_feeds(tmp_path, supervised):
    (tmp_path / "empty.toml").touch()
    result = invoke("run", "--feeds", tmp_path / "empty.toml")
    assert (result.exit_code, supervised) == (2, [])
    assert "feeds: there is none, so there is nothing to run" in result.stderr


def test_schema_prints_json():
    result = invoke("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["$defs"]["FeedSettings"]["required"] == ["url", "actor"]


def test_dev_hands_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(importlib.import_module("ingest.tools.dev"), "run_dev", lambda **options: calls.append(options) or 0)
    assert invoke("dev").exit_code == 0
    assert (
        invoke(
            "dev", "--feeds", "x.toml", "--seconds", 5, "--rate", 9, "--seed", 3, "--symbols", "A/B, C/D", "--faults", "--tcp"
        ).exit_code
        == 0
    )
    assert calls == [
        {
            "feeds": None,
            "seconds": None,
            "rate": 200,
            "seed": 1,
            "symbols": ["BTC/USD", "ETH/USD"],
            "faults": False,
            "tcp": False,
        },
        {"feeds": Path("x.toml"), "seconds": 5, "rate": 9, "seed": 3, "symbols": ["A/B", "C/D"], "faults": True, "tcp": True},
    ]


def test_simulate_hands_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(
        importlib.import_module("ingest.tools.simulate"), "run_simulation", lambda *options: calls.append(options) or 0
    )
    assert invoke("simulate").exit_code == 0
    options = ("--host", "::1", "--port", 0, "--rate", 5, "--seed", 2, "--symbols", "A/B", "--idle-timeout", 3, "--faults")
    assert invoke("simulate", *options).exit_code == 0
    assert calls == [
        ("127.0.0.1", 8765, 200, 1, ["BTC/USD", "ETH/USD"], False, 60),
        ("::1", 0, 5, 2, ["A/B"], True, 3),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["chek"],
        ["run", "--feed", "x"],
        ["check", "too", "much"],
        ["dev", "--seconds", "soon"],
        ["simulate", "--port", "70000"],
        ["gaps", "--since", "soon"],
    ],
)
def test_bad_usage(arguments):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0].startswith("Usage: ")
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("command", ["dev", "simulate"])
@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--symbols", "x", "'x' is no symbol"), ("--symbols", "", "symbols is"), ("--rate", -1, "rate is -1")],
)
def test_what_the_exchange_cannot_simulate_is_told_before_anything_is_started(command, option, value, said):
    result = invoke(command, option, value)
    assert result.exit_code == 2
    assert result.stderr.startswith(said)
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["check", "schema", "run", "gaps", "dev", "simulate"])
def test_every_command_explains_itself(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"Example: python -m ingest {command}" in " ".join(result.stdout.split())
    assert "[bold]" not in result.stdout


def test_the_version_is_that_of_the_source_tree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert invoke("--version").stdout == f"dramatiq-websocket {project['version']}\n"


def test_the_program_is_called_what_the_user_called_it(monkeypatch):
    names = []
    monkeypatch.setattr(cli, "app", lambda prog_name: names.append(prog_name))
    for first in ("/venv/bin/dramatiq-websocket", "/src/ingest/__main__.py"):
        monkeypatch.setattr(cli, "sys", SimpleNamespace(argv=[first]))
        cli.main()
    assert names == ["dramatiq-websocket", "python -m ingest"]
