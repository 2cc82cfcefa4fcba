"""The wishes to stop: Ctrl-C, a signal, the end of who started us, a screen that went away.

The rule: a handler sets an event and nothing else; only a second Ctrl-C means "at once" (make and `timeout` may send the same
SIGTERM twice).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

#: Set by the Makefile: whose end we shall not outlive. Our first look at our parent may come after its death.
PARENT = "DEV_PARENT"


class StopWishes:
    """What the run looks at between two steps."""

    def __init__(self, parent: int) -> None:
        self.hurry = Event()
        self._interrupted = Event()
        self._stop = Event()
        self._parent = parent

    @property
    def asked(self) -> bool:
        """Whether the run shall end in order."""
        return self._interrupted.is_set() or self._stop.is_set() or os.getppid() != self._parent

    def ask(self) -> None:
        """Wish for an orderly end."""
        self._stop.set()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take over SIGINT, SIGTERM and SIGHUP (unless `nohup` has turned it off); only from the main thread."""
        handlers = {signal.SIGINT: self._interrupt, signal.SIGTERM: self._terminate}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            handlers[signal.SIGHUP] = self._terminate
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        (self.hurry if self._interrupted.is_set() else self._interrupted).set()

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()


def parent_of(environ: dict[str, str]) -> int:
    """Return the process whose end ends us, and take its name out of what our own children inherit."""
    told = environ.pop(PARENT, "")
    return int(told) if told.isdigit() else os.getppid()
