from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ingest.tools import dev
from ingest.tools.dev.plan import COMMAND_LINE, DEMO_FEEDS, ROOT, Plan, Refused, Request, make_plan, survey

OWN = """
[feeds.mine]
url = "ws://127.0.0.1:1/"
actor = "handle"
"""


class Planner:
    """Makes plans for a user's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, request: Request, **environ: str) -> Plan:
        return make_plan(request, survey(request, environ, self.directory))

    def own(self, text: str = OWN) -> Path:
        path = self.directory / "mine.toml"
        path.write_text(text)
        return path


@pytest.fixture
def plan(tmp_path: Path) -> Planner:
    return Planner(tmp_path)


def test_the_demonstration_uses_a_server_of_its_own_whatever_is_exported(plan: Planner) -> None:
    made = plan(Request(), REDIS_URL="redis://production.example:6379/0", FEEDS_FILE="/etc/feeds.toml")
    assert made.embedded is not None
    assert not made.embedded.directory.exists(), "a plan makes nothing"
    assert made.env["REDIS_URL"] == made.embedded.url == made.settings.broker.url.get_secret_value()
    assert made.env["FEEDS_FILE"] == str(DEMO_FEEDS)
    assert set(made.settings.feeds) == {"trades", "books"}
    assert made.settings.workers.actors == ("examples.demo.actors",)


def test_the_simulated_exchange_gets_its_options(plan: Planner) -> None:
    made = plan(Request(rate=12.5, seed=7, symbols=("A/B", "C/D"), faults=True))
    assert made.simulator[:4] == (*COMMAND_LINE, "simulate")
    options = made.simulator[4:]
    assert options == ("--port", "0", "--rate", "12.5", "--seed", "7", "--symbols", "A/B,C/D", "--faults")
    assert made.env["SIMULATOR_SYMBOLS"] == "A/B,C/D"
    assert "--faults" not in plan(Request()).simulator


def test_ones_own_feeds_go_to_the_exported_server_and_nothing_is_simulated(plan: Planner) -> None:
    made = plan(Request(feeds=plan.own()), REDIS_URL="redis://mine.example:6379/0")
    assert made.embedded is None
    assert made.simulator == ()
    assert made.env["REDIS_URL"] == made.settings.broker.url.get_secret_value() == "redis://mine.example:6379/0"
    assert "SIMULATOR_URL" not in made.env


@pytest.mark.parametrize("environ", [{}, {"REDIS_URL": ""}], ids=["unset", "empty"])
def test_ones_own_feeds_get_a_server_where_none_is_exported(plan: Planner, environ: dict[str, str]) -> None:
    made = plan(Request(feeds=plan.own()), **environ)
    assert made.embedded is not None
    assert made.env["REDIS_URL"] == made.embedded.url


def test_a_server_that_the_file_itself_names_is_used(plan: Planner) -> None:
    made = plan(Request(feeds=plan.own('[broker]\nurl = "redis://named.example:6379/0"' + OWN)))
    assert made.embedded is None
    assert made.settings.broker.url.get_secret_value() == "redis://named.example:6379/0"


def test_the_file_may_ask_for_the_exported_server_by_name(plan: Planner) -> None:
    assert plan(Request(feeds=plan.own('[broker]\nurl = "${REDIS_URL}"' + OWN))).embedded is not None


def test_a_relative_file_is_that_of_the_users_directory(plan: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    own = plan.own()
    monkeypatch.chdir(own.parent)
    assert plan(Request(feeds=Path("mine.toml"))).env["FEEDS_FILE"] == str(own)


def test_everything_wrong_with_the_file_is_refused_at_once(plan: Planner) -> None:
    own = plan.own('[feeds.mine]\nurl = "http://x/"\nactor = "a"\nping_timout = 3\n')
    with pytest.raises(Refused) as refused:
        plan(Request(feeds=own))
    assert "feeds.mine.url" in str(refused.value)
    assert "feeds.mine.ping_timout" in str(refused.value)


def test_the_users_own_procfile_comes_first(plan: Planner) -> None:
    (plan.directory / "Procfile").write_text("ingest: mine\nworker: mine too\n")
    made = plan(Request())
    assert made.directory == plan.directory
    assert made.commands == {"ingest": "mine", "worker": "mine too"}


def test_without_one_it_is_that_of_the_source_tree(plan: Planner) -> None:
    made = plan(Request())
    assert made.directory == ROOT
    assert made.commands["ingest"] == "python -m ingest run"


def test_without_either_it_says_what_to_write(plan: Planner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ingest.tools.dev.plan.ROOT", tmp_path / "site-packages")
    with pytest.raises(Refused, match=f"there is no Procfile in {plan.directory}: .* write one"):
        plan(Request())


def test_a_procfile_that_lacks_a_line_is_refused(plan: Planner) -> None:
    (plan.directory / "Procfile").write_text("ingest: mine\n")
    with pytest.raises(Refused, match="no line 'worker'"):
        plan(Request())


def test_programs_of_our_own_environment_are_found_first(plan: Planner) -> None:
    env = plan(Request(), PATH="/usr/bin").env
    assert env["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/usr/bin"


def test_tcp_is_only_for_those_who_ask(plan: Planner) -> None:
    asked, other = plan(Request(tcp=True)).embedded, plan(Request()).embedded
    assert asked is not None
    assert other is not None
    assert asked.url == f"redis://127.0.0.1:{asked.port}/0"
    assert other.url == f"unix://{other.socket}?db=0"


def test_a_missing_extra_is_a_sentence_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "_EXTRA", ("honcho", "no_such_package"))
    code = dev.run_dev(feeds=None, seconds=1, rate=1, seed=1, symbols=["A/B"], faults=False, tcp=False)
    assert code == 2
    assert capsys.readouterr().err == (
        "not installed: no_such_package. `dev` needs the extra: pip install 'dramatiq-websocket[embedded]'\n"
    )


def test_refused_settings_are_exit_code_2(plan: Planner, capsys: pytest.CaptureFixture[str]) -> None:
    own = plan.own("[feeds.mine]\n")
    assert dev.run_dev(feeds=own, seconds=1, rate=1, seed=1, symbols=[], faults=False, tcp=False) == 2
    said = capsys.readouterr().err
    assert "feeds.mine.url: is required" in said
    assert "feeds.mine.actor: is required" in said
