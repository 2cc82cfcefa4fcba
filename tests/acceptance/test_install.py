"""What a bare clone needs to come up: the Makefile's set-up, and lock files that hold anywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.txt", "requirements-dev.txt")


def make_install(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run ``make install`` in a folder with nothing but the Makefile, under a Python that is a shell script."""
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").write_text("")
    fake = folder / "python"
    fake.write_text(f"#!/bin/sh\n{python}\n")
    fake.chmod(0o755)
    return subprocess.run(["make", "install", f"PYTHON={fake}"], cwd=folder, capture_output=True, text=True, timeout=60)


def test_a_python_without_ensurepip_is_told_what_to_install(tmp_path: Path) -> None:
    done = make_install(tmp_path, f'case "$*" in *ensurepip*) exit 1;; *) exec {sys.executable} "$@";; esac')
    assert done.returncode != 0
    assert "ensurepip is missing: install python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_is_too_old_is_told_so(tmp_path: Path) -> None:
    done = make_install(tmp_path, "exit 1")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_everything_by_hash_and_name_no_index(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links", text)
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==\S+", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_what_runs_is_tested_in_the_same_versions() -> None:
    pins = [dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)) for name in LOCKS]
    assert pins[0].items() <= pins[1].items()
