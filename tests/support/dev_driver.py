"""A run of `dev` with stand-ins for supervisor and workers, as a process of its own.

The stand-ins speak the real contract (snapshots in Redis, messages in Dramatiq's keys, SIGTERM) and misbehave as FAKE_INGEST and
FAKE_WORKER say: ``deaf`` (ignores SIGTERM), ``crash`` (exits with 3 a second after both are up), ``lose`` (forgets every second
message), ``idle`` (takes nothing). The SECONDS count from when both are up, however long that takes. FAKE_SERVER says what the
server cannot have: its port (``taken``) or its directory (``homeless``).

Usage: python -m tests.support.dev_driver DIRECTORY [SECONDS]
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from ingest.clock import monotonic
from ingest.tools.dev import embedded
from ingest.tools.dev import run as run_module
from ingest.tools.dev.plan import Plan
from ingest.tools.dev.stop import StopWishes
from settings.model import BrokerSettings, FeedSettings, Settings, SupervisorSettings

_COMMON = """
import json, os, secrets, signal, socket, subprocess, sys, time
import redis
from ingest.broker.status import publish_status
mode = os.environ.get(VARIABLE, "")
client = redis.Redis.from_url(os.environ["REDIS_URL"])
identity = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
stopping = False
def stop(*_):
    global stopping
    stopping = mode != "deaf"
signal.signal(signal.SIGTERM, stop)
def up():
    print(f"{NAME} is up", flush=True)
    open(f"{NAME}.up", "w").close()
both_up = None
def crashes():
    global both_up
    if both_up is None and os.path.exists("ingest.up") and os.path.exists("worker.up"):
        both_up = time.monotonic()
    return mode == "crash" and both_up is not None and time.monotonic() - both_up > 1
"""

FAKE_INGEST = (
    """
NAME, VARIABLE = "ingest", "FAKE_INGEST"
"""
    + _COMMON
    + """
count = 0
def publish(final=False):
    feed = {"state": "READY", "frames": count, "emitted": count, "enqueued": count, "dropped": 0, "lost": 0, "reconnects": 0,
            "queue": "trades", "backlog": 0, "last_reason": None}
    queues = {"trades": {"depth": client.llen("dramatiq:trades"), "dead": 0}}
    publish_status(client, "dramatiq", "supervisor", identity, {"feeds": {"trades": feed}, "queues": queues}, final)
up()
while not stopping:
    count += 1
    if mode != "lose" or count % 2:
        client.hset("dramatiq:trades.msgs", str(count), "x")
        client.rpush("dramatiq:trades", str(count))
    if count % 10 == 1:
        publish()
    if crashes():
        sys.exit(3)
    time.sleep(0.01)
publish(final=True)
print("ingest drained", flush=True)
"""
)

FAKE_WORKER = (
    """
NAME, VARIABLE = "worker", "FAKE_WORKER"
"""
    + _COMMON
    + """
# Like Dramatiq's: a child of the same group that does the work and outlives its parent.
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
count, told = 0, 0.0
def publish(final=False):
    feed = {"processed": count, "failed": 0, "lag_ms": {"p50": 1.5, "p99": 7.0}}
    publish_status(client, "dramatiq", "worker", identity, {"feeds": {"trades": feed}}, final)
up()
while not stopping:
    taken = client.lpop("dramatiq:trades") if mode != "idle" else None
    if taken is not None:
        client.hdel("dramatiq:trades.msgs", taken)
        count += 1
    if time.monotonic() - told > 0.1:
        told = time.monotonic()
        publish()
    if crashes():
        sys.exit(3)
    time.sleep(0.002)
child.terminate()
child.wait()
publish(final=True)
print("worker stopped", flush=True)
"""
)


class RunClock:
    """The run's clock: it stands until both stand-ins are up, so that a slow start costs a run nothing of its time."""

    def __init__(self, directory: Path) -> None:
        self._awaited = [directory / "ingest.up", directory / "worker.up"]
        self._began: float | None = None

    def __call__(self) -> float:
        if self._began is None and all(path.exists() for path in self._awaited):
            self._began = monotonic()
        return monotonic() - self._began if self._began is not None else 0.0


def main(directory: Path, seconds: float | None) -> int:
    """Write the stand-ins and run them."""
    for name, text in (("fake_ingest.py", FAKE_INGEST), ("fake_worker.py", FAKE_WORKER)):
        (directory / name).write_text(text)
    run_module.monotonic = RunClock(directory)
    if os.environ.get("FAKE_WORKER") == "idle":
        run_module.EMPTYING = 1.0
    occupied = socket.create_server(("127.0.0.1", 0))
    server = embedded.prepare(tcp=False)
    if os.environ.get("FAKE_SERVER") == "taken":
        server = replace(server, port=occupied.getsockname()[1])
    if os.environ.get("FAKE_SERVER") == "homeless":
        server = replace(server, directory=directory / "missing" / "deeper")
    python = shlex.quote(sys.executable)
    plan = Plan(
        directory=directory,
        commands={"ingest": f"{python} fake_ingest.py", "worker": f"EXTRA=1 {python} ${{NAME:-fake_worker}}.py"},
        env={**os.environ, "REDIS_URL": server.url, "PYTHONPATH": os.getcwd(), "PYTHONUNBUFFERED": "1"},
        settings=Settings(
            broker=BrokerSettings(url=SecretStr(server.url)),
            supervisor=SupervisorSettings(shutdown_timeout=0.5),
            feeds={"trades": FeedSettings(name="trades", url="ws://127.0.0.1:1/", actor="handle", queue="trades")},
        ),
        embedded=server,
        seconds=seconds,
    )
    wishes = StopWishes(os.getppid())
    with wishes.installed():
        return run_module.run(plan, wishes, sys.stdout)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else None))
