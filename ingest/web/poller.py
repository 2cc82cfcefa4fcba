"""Looks at the whole system once a second, for all who have the page open. A thread of its own.

The rule: one look for everybody, and the newest replaces the last: nobody who is slow holds anything up, and nothing piles up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from ingest.clock import Monotonic, monotonic
from ingest.errors import BrokerError
from ingest.telemetry.log import log_event
from ingest.telemetry.masking import mask_text
from ingest.tools.views import Overview
from ingest.tools.watching import Watcher

#: Seconds between two looks.
INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What was seen last: ``trouble`` is why nothing newer is ("" if nothing hinders), for ``silent_for`` seconds now.

    ``version`` grows with every look.
    """

    version: int = 0
    overview: Overview | None = None
    trouble: str = ""
    silent_for: float = 0.0


class Poller:
    """Looks until it is closed; ``changed`` is called in its thread after every look."""

    def __init__(self, watcher: Watcher, *, clock: Monotonic = monotonic) -> None:
        self.latest = Reading()
        self.changed: Callable[[], object] = lambda: None
        self._watcher = watcher
        self._clock = clock
        self._answered_at = clock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Look no more. Does not wait for a look that has begun."""
        self._end.set()

    def look(self) -> None:
        """Look once."""
        before = self.latest
        try:
            overview = self._watcher.look()
        except BrokerError as error:
            self._failed(f"Redis does not answer: {error}", error)
        except Exception as error:  # noqa: BLE001 - Redis may hold anything: a page that stands still and says nothing would be worse
            self._failed(f"what Redis holds cannot be shown: {type(error).__name__}", error)
        else:
            if before.trouble:
                log_event(logging.INFO, "web_redis_answers", {"after": f"{self._clock() - self._answered_at:.1f}"})
            self._answered_at = self._clock()
            self.latest = Reading(before.version + 1, overview)
        self.changed()

    def _failed(self, why: str, error: Exception) -> None:
        before, trouble = self.latest, mask_text(why)
        if not before.trouble:
            cause = None if isinstance(error, BrokerError) else error
            log_event(logging.WARNING, "web_redis_silent", {"reason": trouble}, cause=cause)
        silent_for = self._clock() - self._answered_at
        self.latest = replace(before, version=before.version + 1, trouble=trouble, silent_for=silent_for)

    def _run(self) -> None:
        while not self._end.is_set():
            self.look()
            self._end.wait(INTERVAL)
        self._watcher.close()
