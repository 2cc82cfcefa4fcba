"""A supervisor at work on one feed and one queue, with what a fault test asks of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import redis

from tests.support.command_line import run_command
from tests.support.fault_feeds import QUEUE, feeds_toml
from tests.support.memory import MemorySampler
from tests.support.numbered import number_of
from tests.support.queue_content import numbers_in
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

KEY = "dramatiq:trades"


@dataclass
class Running:
    """The supervisor, its memory, and its queue ``trades``."""

    supervisor: SupervisorProcess
    memory: MemorySampler
    client: redis.Redis
    redis_url: str

    def newest(self) -> int:
        """Return the last number in the queue; 0 if it is empty."""
        last = self.client.lindex(KEY, -1)
        data = self.client.hget(f"{KEY}.msgs", last) if last is not None else None
        return number_of(json.loads(data)["args"][0]) if data is not None else 0

    def depth(self) -> int:
        return self.client.llen(KEY)

    def numbers(self) -> list[int]:
        """Return all numbers in the queue, in order."""
        return numbers_in(self.client)

    def gaps(self, cause: str = "forgotten") -> list[dict[str, Any]]:
        """Return what ``python -m ingest gaps`` lists of one cause."""
        done = run_command(self.supervisor.folder, "gaps", "--json", REDIS_URL=self.redis_url)
        assert done.returncode == 0, done.stderr
        return [gap for gap in map(json.loads, done.stdout.splitlines()) if gap["cause"] == cause]

    def flows(self, beyond: int = 0, timeout: float = 60.0) -> None:
        """Wait until a number beyond this one is in the queue."""
        wait_until(lambda: self.newest() > beyond or not self.supervisor.running, timeout, f"a number beyond {beyond}")
        assert self.supervisor.running, "the supervisor has ended"

    def told(self, pattern: str) -> int:
        """Return how often the log says so (a regular expression)."""
        return self.supervisor.told(pattern)

    def seconds_between(self, text: str, first: int, last: int) -> float:
        """Return the seconds between two of the log's lines that hold ``text``, counted from 0."""
        lines = [line for line in self.supervisor.log.splitlines() if text in line]
        one, other = (datetime.fromisoformat(lines[index].split()[0]) for index in (first, last))
        return (other - one).total_seconds()


@contextmanager
def supervising(
    folder: Path,
    valkey: Valkey,
    url: str,
    *,
    name: str = "trades",
    extra: str = "",
    top: str = QUEUE,
    prefix: Sequence[str] = (),
    redis_url: str | None = None,
) -> Iterator[Running]:
    """Run a supervisor for the block: it must still run at the end, and end on SIGTERM with 0, nothing lost.

    ``redis_url`` is its way to the server, where that is not the server's own.
    """
    feeds = feeds_toml(url, name, extra=extra, top=top)
    with (
        SupervisorProcess(folder, feeds, redis_url or valkey.url, prefix=prefix) as supervisor,
        MemorySampler(supervisor.pid) as memory,
    ):
        yield Running(supervisor, memory, valkey.client(), valkey.url)
        assert supervisor.stop() == 0
        assert "lost=0" in supervisor.log


@contextmanager
def leader_and_standby(
    folder: Path, valkey: Valkey, url: str, *, extra: str = "", top: str = QUEUE, leader_url: str | None = None
) -> Iterator[tuple[SupervisorProcess, Running]]:
    """Run a supervisor that leads, which may end within the block, and one that stands by, as `supervising` does.

    ``leader_url`` is the leader's way to the server, where that is not the server's own.
    """
    for name in ("leader", "standby"):
        (folder / name).mkdir()
    with SupervisorProcess(folder / "leader", feeds_toml(url, extra=extra, top=top), leader_url or valkey.url) as leader:
        leader.wait_for_log("connection_ready ")
        with supervising(folder / "standby", valkey, url, extra=extra, top=top) as standby:
            standby.supervisor.wait_for_log("standing_by ")
            yield leader, standby
