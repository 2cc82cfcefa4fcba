"""Whose ``settings`` is imported: ours, or nothing runs; and where the user's own modules are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CONSOLE_SCRIPT, ROOT, run_command
from tests.support.settings_files import FEED

SESSION = "from ingest.connection.session import Session\nclass Feed(Session): ...\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "feeds.toml").write_text(FEED + 'session = "mine:Feed"\n')
    (tmp_path / "mine.py").write_text(SESSION)
    return tmp_path


@pytest.mark.parametrize("foreign", ["settings.py", "settings/__init__.py"])
def test_a_foreign_settings_module_is_told_and_nothing_runs(project, foreign):
    path = project / foreign
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise RuntimeError('imported')\n")
    done = run_command(project, "check")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"{foreign} shadows the module 'settings' of dramatiq-websocket in {ROOT}",
        "  rename it, or use the command dramatiq-websocket (in place of python -m ingest), which puts ours first",
    ]


def test_the_console_script_puts_ours_first_and_finds_the_users_modules(project):
    (project / "settings.py").write_text("raise RuntimeError('imported')\n")
    done = run_command(project, "check", program=CONSOLE_SCRIPT, PYTHONSAFEPATH="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine:Feed" in done.stdout


def test_a_module_in_the_working_directory_is_found_with_either_command(project):
    done = run_command(project, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine:Feed" in done.stdout


PIPED = """
import subprocess, sys
schema = subprocess.Popen([sys.executable, "-m", "ingest", "schema"], stdout=subprocess.PIPE)
schema.stdout.read(10)
schema.stdout.close()
sys.exit(schema.wait())
"""


def test_the_schema_can_be_piped_into_something_that_stops_reading(project):
    assert "Traceback" not in run_command(project, program=("-c", PIPED)).stderr
