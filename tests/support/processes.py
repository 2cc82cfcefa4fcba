"""A command of ours as a process that goes on until it is stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from signal import SIGTERM
from types import TracebackType
from typing import Self

from tests.support.command_line import ROOT

_OURS = ("REDIS_URL", "FEEDS_FILE", "SENTRY_DSN", "LOG_LEVEL", "LOG_FORMAT", "PORT", "WEB_TOKEN", "DYNO", "HEALTH_PORT")


class Process:
    """``python -m ingest …`` in a folder, with these variables and none of ours from outside; killed at the end of the test.

    ``prefix`` is a command to run it under, ``environ`` adds to its environment.
    """

    def __init__(self, folder: Path, name: str, *arguments: str, prefix: Sequence[str] = (), **environ: str) -> None:
        self._log = folder / f"{name}.log"
        kept = {key: value for key, value in os.environ.items() if key not in _OURS}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "ingest", *arguments],
                cwd=folder,
                env={**kept, "PYTHONPATH": str(ROOT), **environ},
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = 60.0) -> int:
        return self._process.wait(timeout)

    def stop(self, timeout: float = 60.0, number: int = SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.signal(number)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self.running:
            self.kill()
        if error is not None:
            error.add_note(f"--- the log of {self._log.stem} ---\n{self.log[-4000:]}")
