"""A thread that tells a worker process's status every second, and once more at the end.

The rule: nothing that goes wrong here reaches the processing of messages; an outage is logged once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ingest.errors import BrokerError
from ingest.telemetry.facts import safe_text
from ingest.telemetry.log import log_event

Snapshot = Mapping[str, Any]

#: Writes a snapshot; the flag says whether it is the last one. Raises `BrokerError`.
PublishStatus = Callable[[Snapshot, bool], None]

INTERVAL = 1.0

#: Seconds that the last snapshot may hold up the end of the process.
STOP_TIMEOUT = 3.0


class StatusReporter:
    """Calls ``publish`` with what ``snapshot`` returns, from its own thread."""

    def __init__(self, publish: PublishStatus, snapshot: Callable[[], Snapshot], interval: float = INTERVAL) -> None:
        self._publish = publish
        self._snapshot = snapshot
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)
        self._failing = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Publish the last snapshot and end the thread, within `STOP_TIMEOUT`."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._tell(final=False)
            self._stop.wait(self._interval)
        self._tell(final=True)

    def _tell(self, *, final: bool) -> None:
        try:
            self._publish(self._snapshot(), final)
        except BrokerError as error:
            if not self._failing:
                log_event(logging.WARNING, "status_unavailable", {"detail": safe_text(str(error))})
            self._failing = True
        else:
            if self._failing:
                log_event(logging.INFO, "status_available", {})
            self._failing = False
