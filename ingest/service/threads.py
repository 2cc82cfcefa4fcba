"""Threads that outlive a fault in their own loop, within a limit.

The rule: no thread of the supervisor dies in silence; after ``limit`` crashes within ``within`` seconds its
owner is told that it is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TypeVar

from ingest.clock import Monotonic, monotonic

T = TypeVar("T")
R = TypeVar("R")

#: So many things are done at once by `in_parallel`: disks write what comes together with one sync.
PARALLEL = 8


@dataclass(slots=True)
class Intensity:
    """How many crashes are borne: at most ``limit`` within ``within`` seconds."""

    limit: int = 5
    within: float = 60.0
    _crashes: deque[float] = field(default_factory=deque)

    def bears(self, now: float) -> bool:
        """Count a crash at ``now``; False if it is one too many."""
        self._crashes.append(now)
        while self._crashes[0] < now - self.within:
            self._crashes.popleft()
        return len(self._crashes) <= self.limit


def run_restarting(
    body: Callable[[], None],
    crashed: Callable[[BaseException, float | None], None],
    stop: Event,
    *,
    intensity: Intensity | None = None,
    delay: float = 1.0,
    clock: Monotonic = monotonic,
) -> None:
    """Run ``body`` until it returns; after a crash tell ``crashed(cause, delay)`` and run it again ``delay`` seconds later.

    ``crashed(cause, None)`` says that it was one crash too many. A stop ends the wait; ``body`` then runs once
    more, so that it ends in its own order.
    """
    intensity = intensity or Intensity()
    while True:
        try:
            body()
        except Exception as cause:  # noqa: BLE001 - a fault of any kind in one feed must not reach another
            if not intensity.bears(clock()):
                crashed(cause, None)
                return
            crashed(cause, delay)
            stop.wait(delay)
        else:
            return


def in_parallel(act: Callable[[T], R], items: Sequence[T], meanwhile: Callable[[], float | None] = lambda: None) -> list[R]:
    """Return what ``act`` makes of each item, in their order: a few at once, for what waits for disks that can do several things.

    All are done before the first exception is raised. ``meanwhile`` is called in this thread until they are, each time as many
    seconds later as it returned (None: when they are).
    """
    if len(items) < 2:
        return [act(item) for item in items]
    with ThreadPoolExecutor(min(PARALLEL, len(items)), "parallel") as pool:
        futures = [pool.submit(act, item) for item in items]
        while wait(futures, meanwhile()).not_done:
            pass
    return [future.result() for future in futures]


def start(name: str, body: Callable[[], None]) -> Thread:
    """Start a daemon thread: a callback of the user's that hangs must not keep the process from ending."""
    thread = Thread(target=body, name=name, daemon=True)
    thread.start()
    return thread
