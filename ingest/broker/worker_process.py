"""Whether this process works on messages: then what it sends is never held back.

The rule: a doubt counts as yes. A worker that waits for room in the queue that it is to empty waits for itself, and a retry that
is refused is a message lost.
"""

from __future__ import annotations

import sys
from weakref import WeakSet

from dramatiq import Worker

#: Workers that run in this process, of any broker: an actor of one may send through another.
_workers: WeakSet[Worker] = WeakSet()


def worker_begins(worker: Worker) -> None:
    """Take note of a worker before it starts its threads."""
    _workers.add(worker)


def worker_ended(worker: Worker) -> None:
    """Take note that a worker has put away everything it had."""
    _workers.discard(worker)


def is_worker_process() -> bool:
    """Tell whether a worker runs in this process, or will.

    The ``dramatiq`` command counts from its start: modules of actors may send while they are imported, before any worker is made.
    """
    return "dramatiq.cli" in sys.modules or len(_workers) > 0
