"""SIGTERM and SIGINT: the first asks for an orderly stop, the second ends at once.

The rule: a handler sets an event and nothing else.
"""

from __future__ import annotations

import signal
from threading import Event
from types import FrameType


class StopSignals:
    """Two events that the main thread waits for."""

    def __init__(self) -> None:
        self.stop = Event()
        self.at_once = Event()

    def install(self) -> None:
        """Take over SIGTERM and SIGINT; only from the main thread."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        (self.at_once if self.stop.is_set() else self.stop).set()
