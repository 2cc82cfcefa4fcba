"""`make run` as a process, with everything that descends from it under one mark."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.leftovers import VARIABLE, Process, kill_marked, marked, new_mark
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]

#: What a run consists of: a name for each process, and what its command line has that no other's has.
PARTS = {
    "make": "make ",
    "dev": "-m ingest dev",
    "watchdog": "watchdog.py",
    "server": "valkey-server",
    "simulator": "simulate --port",
    "ingest": "-m ingest run",
    "worker": "dramatiq workers",
}


class MakeRun:
    """One `make run`; its output goes to a file, so that no pipe ties it to the test."""

    def __init__(self, log: Path, *variables: str, **environ: str) -> None:
        self._log = log
        self.mark = new_mark()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                make_command(*variables),
                cwd=ROOT,
                env=environment(self.mark, **environ),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()

    def until_it_flows(self) -> None:
        """Wait until both feeds are connected and a worker is there, so that every process has taken up its work."""

        def flowing() -> bool:
            said = "\n".join(self.said)
            return said.count(" connection_ready feed=") >= 2 and "Worker process is ready for action." in said

        wait_until(flowing, 60.0, "two feeds and a worker")

    def parts(self) -> dict[str, Process]:
        """Return the processes by name: of several with the same command line (Dramatiq's), the first."""
        running = sorted(marked(self.mark), key=lambda process: process.pid)
        found = {name: next((p for p in running if text in p.command), None) for name, text in PARTS.items()}
        return {name: process for name, process in found.items() if process is not None}

    def children_of(self, parent: Process) -> list[Process]:
        return [process for process in marked(self.mark) if process.parent == parent.pid]

    def directory(self) -> Path:
        """Return the embedded server's temporary directory."""
        directory = Path(self.parts()["server"].command.split("--dir ")[1].split()[0])
        assert directory.is_dir()
        return directory

    def until_nothing_is_left(self) -> None:
        wait_until(lambda: not marked(self.mark), 60.0, "the end of every process")

    def numbers(self) -> dict[str, int]:
        """Return the last line."""
        [last] = [line for line in self.said if line.startswith("frames=")]
        return {name: int(value) for name, value in (part.split("=") for part in last.split())}

    def left_over(self) -> int:
        """Return how many messages the last lines say are still in the queues, or dead letters."""
        return sum(int(found[1]) for line in self.said if (found := re.match(r"dev: (\d+) messages: ", line)))

    def stop(self) -> None:
        """Ask for an orderly end, as a platform does, and let make say what became of it."""
        os.kill(self.parts()["dev"].pid, signal.SIGTERM)

    def close(self) -> None:
        """End it in order, so that it tidies up; kill what a failed test has left."""
        self.process.terminate()  # make hands it on
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(45)
        kill_marked(self.mark)
        self.process.wait()


def make_command(*variables: str) -> list[str]:
    """Return `make run` in the environment that runs the tests, which is installed already."""
    return ["make", "--no-print-directory", "-o", "install", f"BIN={Path(sys.executable).parent}", "run", *variables]


def environment(mark: str, **environ: str) -> dict[str, str]:
    """Return our environment with the mark, without what `make test` or a developer's shell may have put there."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "FEEDS", "REDIS_", "LOG_"))
    }
    return {**kept, VARIABLE: mark, "WORKER_PROCESSES": "1", "WORKER_THREADS": "2", **environ}
