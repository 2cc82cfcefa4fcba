"""SIGTERM and SIGINT: the first asks for an orderly stop, the second ends at once. SIGHUP: the settings have changed.

The rule: a handler sets an event and nothing else.
"""

from __future__ import annotations

import signal
from threading import Event
from types import FrameType


class StopSignals:
    """The events that the main thread waits for."""

    def __init__(self) -> None:
        self.stop = Event()
        self.at_once = Event()
        self.reload = Event()

    def install(self, *, reloads: bool = False) -> None:
        """Take over SIGTERM and SIGINT, and SIGHUP where that does not end the process; only from the main thread."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)
        if reloads:
            signal.signal(signal.SIGHUP, lambda number, frame: self.reload.set())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        (self.at_once if self.stop.is_set() else self.stop).set()
