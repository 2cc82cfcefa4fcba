"""The real ``dramatiq`` command in a project folder of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
READY = "Worker process is ready for action."

#: Longer than any of these processes needs, also on a busy machine.
TIMEOUT = 60.0


class WorkersProcess:
    """A running ``dramatiq`` command; its output goes to a file."""

    def __init__(self, arguments: list[str], cwd: Path, log: Path, environ: Mapping[str, str]) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dramatiq", *arguments],
                cwd=cwd,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environ},
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ready(self) -> WorkersProcess:
        """Wait until the worker takes messages."""
        wait_until(lambda: READY in self.log or self._process.poll() is not None, TIMEOUT, "the worker to be ready")
        assert READY in self.log, self.log
        return self

    def terminate(self) -> int:
        """Send SIGTERM as a platform does, and return the exit code."""
        self.signal_terminate()
        return self.wait()

    def signal_terminate(self) -> None:
        """Send SIGTERM and wait for nothing."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Return the exit code of a process that ends by itself."""
        return self._process.wait(TIMEOUT)

    def kill(self) -> None:
        """End the command and the processes that it forked."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(TIMEOUT)


class Project:
    """A user's project: a folder with modules and a feeds file, in which ``dramatiq`` is started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[WorkersProcess] = []

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def run(self, *arguments: str, cwd: Path | None = None, **environ: str) -> WorkersProcess:
        """Start ``dramatiq`` with one worker process and one thread, in the folder unless ``cwd`` is another."""
        process = WorkersProcess(
            [*arguments, "-p", "1", "-t", "1"],
            cwd or self.folder,
            self.folder / f"workers-{len(self.processes)}.log",
            # Idle threads look up ten times a second, so that the end of a test does not take seconds.
            {"PYTHONPATH": str(ROOT), "dramatiq_worker_timeout": "100", **environ},
        )
        self.processes.append(process)
        return process

    def python(self, script: str, **environ: str) -> None:
        """Run a script of the project to its end."""
        env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
        subprocess.run([sys.executable, script], cwd=self.folder, env=env, timeout=TIMEOUT, check=True)

    def results(self) -> list[Any]:
        """Return what actors have appended to ``results``, a JSON value a line."""
        path = self.folder / "results"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for_results(self, count: int) -> list[Any]:
        """Return the results as soon as there are ``count``."""
        try:
            wait_until(lambda: len(self.results()) >= count, TIMEOUT, f"{count} results")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.processes[-1].log}") from None
        return self.results()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    for process in made.processes:
        process.kill()
