"""Prometheus' own checker of rules. Without it a test is skipped, and fails in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """The system's ``promtool``."""
    path = shutil.which("promtool")
    if path is None:
        missing = "there is no promtool (Debian's package prometheus, or promtool)"
        pytest.fail(missing) if "CI" in os.environ else pytest.skip(missing)
    return Promtool(path)


class Promtool:
    """Runs it; what it says when it refuses something is the failure of the test."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, *arguments: str | Path) -> str:
        done = subprocess.run([self._path, *arguments], capture_output=True, text=True, timeout=60)
        if done.returncode:
            pytest.fail(done.stdout + done.stderr, pytrace=False)
        return done.stdout
