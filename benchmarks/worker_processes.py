"""Worker processes of one kind (``worker_processes.py stock|ours URL COUNT FOLDER``), until standard input ends.

The modules are imported once and the processes forked; each writes ``FOLDER/<pid>`` at the end: what its messages took, in ms.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from ingest.broker import RateLimitedBroker

THREADS = 8
NAMESPACES = {"stock": "stock", "ours": "ours"}


def main(kind: str, url: str, count: int, folder: Path) -> None:
    pids = [pid for _ in range(count) if (pid := fork(kind, url, folder))]
    sys.stdin.read()
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    for pid in pids:
        os.waitpid(pid, 0)


def fork(kind: str, url: str, folder: Path) -> int:
    pid = os.fork()
    if pid == 0:
        work(kind, url, folder)
        os._exit(0)
    return pid


def work(kind: str, url: str, folder: Path) -> None:
    logging.basicConfig(level=logging.WARNING)
    took: list[float] = []
    broker = make_broker(kind, url)
    dramatiq.set_broker(broker)

    @dramatiq.actor(queue_name="q")
    def handle(sent: float) -> None:
        took.append((time.time() - sent) * 1000)

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, worker_threads=THREADS)
    worker.start()
    (folder / f"{os.getpid()}.ready").touch()
    signal.sigwait([signal.SIGTERM])
    worker.stop()
    (folder / str(os.getpid())).write_text(json.dumps(took))


def make_broker(kind: str, url: str) -> RedisBroker:
    """Return a broker with Dramatiq's default middleware; each kind has a namespace of its own, so both may run at once."""
    namespace = NAMESPACES[kind]
    return RedisBroker(url=url, namespace=namespace) if kind == "stock" else RateLimitedBroker(url=url, namespace=namespace)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
