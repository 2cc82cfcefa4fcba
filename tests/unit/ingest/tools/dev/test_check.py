"""The check before a run, as a process: what it says is handed on, and it never outlives the question."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingest.tools.dev.check import find_problems
from ingest.tools.dev.plan import Ground
from ingest.tools.dev.stop import StopWishes
from ingest.tools.dev.watchdog import process_alive
from tests.support.command_line import ROOT
from tests.support.settings_files import FEED
from tests.support.waiting import wait_until


@pytest.fixture
def wishes() -> StopWishes:
    return StopWishes(os.getppid())


def ground(folder: Path, **environ: str) -> Ground:
    return Ground(folder, {}, {**os.environ, "PYTHONPATH": str(ROOT), "FEEDS_FILE": str(folder / "feeds.toml"), **environ})


def python(code: str) -> Sequence[str]:
    return (sys.executable, "-c", code)


def test_good_settings_are_no_problem_and_nothing_is_said(tmp_path: Path, wishes: StopWishes) -> None:
    (tmp_path / "feeds.toml").write_text(FEED)
    assert find_problems(ground(tmp_path), wishes) == ()


def test_every_problem_of_the_settings_and_of_what_they_name_is_told_at_once(tmp_path: Path, wishes: StopWishes) -> None:
    (tmp_path / "feeds.toml").write_text(FEED + 'pin_interval = 1\n[workers]\nactors = ["nowhere.actors", "broken"]\n')
    (tmp_path / "broken.py").write_text("1 / 0\n")
    header, *problems = find_problems(ground(tmp_path), wishes)
    assert header == f"3 problems with the settings ({tmp_path / 'feeds.toml'}):"
    assert [problem.strip().split(": ", 1)[0] for problem in problems] == [
        "feeds.trades.pin_interval",
        "workers.actors[0]",
        "workers.actors[1]",
    ]
    assert problems[-1].endswith("the module 'broken' does not import: broken.py, line 1: ZeroDivisionError: division by zero")


def test_a_module_that_is_there_is_imported_in_a_process_of_its_own(tmp_path: Path, wishes: StopWishes) -> None:
    (tmp_path / "mine.py").write_text(
        'import dramatiq\nopen("imported", "w").close()\n@dramatiq.actor\ndef handle_trade(payload): ...\n'
    )
    (tmp_path / "feeds.toml").write_text(FEED + '[workers]\nactors = ["mine"]\n')
    assert find_problems(ground(tmp_path), wishes) == ()
    assert (tmp_path / "imported").exists()
    assert "mine" not in sys.modules


def test_one_that_says_nothing_is_named_with_its_end(tmp_path: Path, wishes: StopWishes) -> None:
    assert find_problems(ground(tmp_path), wishes, command=python("import sys; sys.exit(7)")) == [
        "check ended unexpectedly (exit code 7)"
    ]


NEVER = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('pid', 'w').write(str(os.getpid())); {}"


def test_one_that_does_not_come_back_is_ended_and_told(tmp_path: Path, wishes: StopWishes) -> None:
    never = python(NEVER.format("import sys; print('loading', file=sys.stderr, flush=True); time.sleep(600)"))
    assert find_problems(ground(tmp_path), wishes, command=never, timeout=2.0) == [
        "loading",
        "the check did not end within 2 s: a module that the settings name hangs while it is imported",
    ]
    assert not process_alive(int((tmp_path / "pid").read_text()))


def test_a_wish_to_stop_ends_it_and_is_no_problem(tmp_path: Path, wishes: StopWishes) -> None:
    def ask() -> None:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 10, "the check")
        wishes.ask()

    asking = threading.Thread(target=ask)
    asking.start()
    assert find_problems(ground(tmp_path), wishes, command=python(NEVER.format("time.sleep(600)"))) == ()
    asking.join()
    assert not process_alive(int((tmp_path / "pid").read_text()))


def test_a_settings_module_of_the_users_own_does_not_stand_in_the_way(tmp_path: Path, wishes: StopWishes) -> None:
    """As for the console script, by which `dev` of an installed package is called."""
    (tmp_path / "settings.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "feeds.toml").write_text(FEED)
    assert find_problems(ground(tmp_path), wishes) == ()
