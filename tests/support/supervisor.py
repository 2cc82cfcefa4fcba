"""The real supervisor process over a settings file of the test's own."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dramatiq

from tests.support.processes import Process
from tests.support.waiting import wait_until


class SupervisorProcess(Process):
    """``python -m ingest run`` in ``folder``, where the user's own modules lie too; ended by pid at the end of the test."""

    def __init__(self, folder: Path, feeds: str, redis_url: str, *, prefix: Sequence[str] = (), **environ: str) -> None:
        (folder / "feeds.toml").write_text(feeds)
        self.folder = folder
        super().__init__(folder, "supervisor", "run", prefix=prefix, **{"REDIS_URL": redis_url, **environ})

    def wait_for_log(self, text: str, timeout: float = 60.0) -> None:
        wait_until(lambda: text in self.log or not self.running, timeout, f"{text!r} in the log")
        assert text in self.log, self.log

    def told(self, pattern: str) -> int:
        """Return how often the log says so (a regular expression)."""
        return len(re.findall(pattern, self.log))

    @property
    def last_line(self) -> str:
        return self.log.splitlines()[-1]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)


def payloads_in(client, queue: str = "trades", namespace: str = "dramatiq") -> list:
    """Return the payload of every message that waits in a queue, in order, as a worker would decode them."""
    ids = client.lrange(f"{namespace}:{queue}", 0, -1)
    if not ids:
        return []
    messages = [dramatiq.Message.decode(data) for data in client.hmget(f"{namespace}:{queue}.msgs", ids)]
    return [message.args[0] for message in messages]
