"""The real supervisor process over a settings file of the test's own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dramatiq

from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


class SupervisorProcess:
    """``python -m ingest run`` in ``folder``, where the user's own modules lie too; ended by pid at the end of the test.

    ``prefix`` is a command to run it under, ``environ`` adds to its environment.
    """

    def __init__(self, folder: Path, feeds: str, redis_url: str, *, prefix: Sequence[str] = (), **environ: str) -> None:
        (folder / "feeds.toml").write_text(feeds)
        self.folder = folder
        self._log = folder / "supervisor.log"
        environment = {
            **{name: value for name, value in os.environ.items() if name not in ("FEEDS_FILE", "SENTRY_DSN")},
            "REDIS_URL": redis_url,
            "PYTHONPATH": str(ROOT),
            **environ,
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "ingest", "run"], cwd=folder, env=environment, stdout=log, stderr=log
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

    def wait_for_log(self, text: str, timeout: float = 60.0) -> None:
        wait_until(lambda: text in self.log or self._process.poll() is not None, timeout, f"{text!r} in the log")
        assert text in self.log, self.log

    def told(self, pattern: str) -> int:
        """Return how often the log says so (a regular expression)."""
        return len(re.findall(pattern, self.log))

    @property
    def last_line(self) -> str:
        return self.log.splitlines()[-1]

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = 60.0) -> int:
        return self._process.wait(timeout)

    def stop(self, timeout: float = 60.0) -> int:
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def __enter__(self) -> SupervisorProcess:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if error is not None:
            error.add_note(f"--- the supervisor's log ---\n{self.log[-4000:]}")


def payloads_in(client, queue: str = "trades", namespace: str = "dramatiq") -> list:
    """Return the payload of every message that waits in a queue, in order, as a worker would decode them."""
    ids = client.lrange(f"{namespace}:{queue}", 0, -1)
    if not ids:
        return []
    messages = [dramatiq.Message.decode(data) for data in client.hmget(f"{namespace}:{queue}.msgs", ids)]
    return [message.args[0] for message in messages]
