"""Looks at the whole system once a second, for all who have the page open. A thread of its own.

The rule: one look for everybody, and the newest replaces the last: nobody who is slow holds anything up, and nothing piles up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from ingest.clock import Monotonic, monotonic
from ingest.errors import BrokerError
from ingest.tools.views import Overview
from ingest.tools.watching import Watcher

#: Seconds between two looks.
INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen last; ``trouble`` says since when Redis does not answer, and what it says, "" while it does.

    ``version`` grows with every look.
    """

    version: int = 0
    overview: Overview | None = None
    trouble: str = ""
    silent_for: float = 0.0


class Eye:
    """Looks until it is closed.

    Parameters:
      changed: called in the eye's thread after every look.
    """

    def __init__(self, watcher: Watcher, changed: Callable[[], object] = lambda: None, *, clock: Monotonic = monotonic) -> None:
        self.sight = Sight()
        self.changed = changed
        self._watcher = watcher
        self._clock = clock
        self._answered_at = clock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eye", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._end.set()

    def look(self) -> None:
        """Look once."""
        before = self.sight
        try:
            overview = self._watcher.look()
        except BrokerError as error:
            silent_for = self._clock() - self._answered_at
            self.sight = replace(before, version=before.version + 1, trouble=str(error), silent_for=silent_for)
        else:
            self._answered_at = self._clock()
            self.sight = Sight(before.version + 1, overview)
        self.changed()

    def _run(self) -> None:
        self.look()
        while not self._end.wait(INTERVAL):
            self.look()
        self._watcher.close()
