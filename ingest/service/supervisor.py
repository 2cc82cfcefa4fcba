"""The supervisor process: starts the feeds, watches them, and stops them in order.

The rule: one main loop that waits for signals; whatever talks to Redis or runs the user's code has its own thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Event

from ingest.clock import Deadline, monotonic
from ingest.service.build import Plant, build
from ingest.service.signals import StopSignals
from ingest.service.threads import start
from ingest.telemetry.log import log_event
from ingest.telemetry.summary import INTERVAL, NAME, FeedNumbers, summary_fields
from settings.model import Settings

#: Seconds between two looks of the main loop at the feeds.
TICK = 0.5

#: Seconds between two looks at a thread that is to end.
POLL = 0.02

#: Seconds that closing all connections may take.
CLOSING = 3.0

#: Seconds kept back at the end for the last status and for telemetry.
FAREWELL = 1.0


def run(settings: Settings, only: Sequence[str] = ()) -> int:
    """Run the feeds until a signal, or until none is left; return the exit code (0, or 1 if a feed failed or lost anything).

    Raises what `ingest.service.build.build` raises where settings name what does not exist, or Redis refuses us.
    """
    signals = StopSignals()
    signals.install()
    return Supervisor(build(settings, only), settings.supervisor.shutdown_timeout, signals).run()


class Supervisor:
    """Runs what `build` has put together."""

    def __init__(self, plant: Plant, shutdown_timeout: float, signals: StopSignals) -> None:
        self._plant = plant
        self._runners = plant.runners
        self._shutdown_timeout = shutdown_timeout
        self._signals = signals
        self._reporting = Event()
        self._summed_at = monotonic()
        self._summed = {runner.settings.name: FeedNumbers() for runner in self._runners}

    def run(self) -> int:
        """Start everything, wait for the end, stop everything; return the exit code."""
        for runner in self._runners:
            runner.start()
        report = start("report", lambda: self._plant.reporter.run(self._reporting))
        while not self._signals.stop.wait(TICK) and not all(runner.ended for runner in self._runners):
            self._look()
        deadline = Deadline(self._shutdown_timeout)
        self._shut_down(deadline)
        self._reporting.set()
        report.join(min(FAREWELL, deadline.remaining() + FAREWELL))
        if not self._signals.at_once.is_set():
            self._plant.reporter.report(final=True)
        self._summarise()
        self._plant.close(FAREWELL)
        return 1 if any(runner.failed or runner.lost for runner in self._runners) else 0

    def _look(self) -> None:
        for runner in self._runners:
            runner.check_callback()
        if monotonic() - self._summed_at >= INTERVAL:
            self._summarise()

    def _shut_down(self, deadline: Deadline) -> None:
        """Stop in order: first the reading, so that nothing new comes; then hand over what waits; then count what is left.

        A second signal ends every wait.
        """
        for runner in self._runners:
            runner.stop_reading()
        closing = Deadline(min(CLOSING, deadline.remaining() / 2))
        for runner in self._runners:
            self._wait(runner.reading_ended, closing)
        publishing = Deadline(max(0.0, deadline.remaining() - FAREWELL))
        for runner in self._runners:
            runner.drain(publishing)
        for runner in self._runners:
            self._wait(runner.publishing_ended, publishing)
        for runner in self._runners:
            runner.finish()

    def _wait(self, condition: Callable[[], bool], deadline: Deadline) -> None:
        while not condition() and not deadline.expired and not self._signals.at_once.wait(POLL):
            pass

    def _summarise(self) -> None:
        now = monotonic()
        for runner in self._runners:
            name, numbers = runner.settings.name, runner.numbers()
            log_event(logging.INFO, NAME, summary_fields(name, self._summed[name], numbers, now - self._summed_at))
            self._summed[name] = numbers
        self._summed_at = now
