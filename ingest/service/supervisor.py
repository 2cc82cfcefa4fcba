"""The supervisor process: starts the feeds, watches them, and stops them in order.

The rule: one main loop that waits for signals; whatever talks to Redis or runs the user's code has its own thread.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event

from ingest.broker.gaps import GapRecord
from ingest.clock import Deadline, monotonic
from ingest.service.build import build
from ingest.service.health import routes
from ingest.service.plant import Plant
from ingest.service.reload import Reloader
from ingest.service.runner import FeedRunner
from ingest.service.signals import StopSignals
from ingest.service.threads import in_parallel, run_restarting, start
from ingest.telemetry.log import log_event
from ingest.telemetry.summary import INTERVAL, NAME, FeedNumbers, summary_fields
from settings.model import Settings

#: New objects between two searches for garbage in cycles. Python's own number is reached with every read of a flood, and what
#: waits in the backlog is then looked at again and again, though no cycle of ours leads through it.
GARBAGE_THRESHOLD = 10_000

#: Seconds between two looks of the main loop at the feeds.
TICK = 0.5

#: Seconds between two looks at a thread that is to end.
POLL = 0.02

#: Seconds that closing all connections may take.
CLOSING = 3.0

#: Seconds kept back at the end for what is left to the disk, gap records and leases.
SAVING = 3.0

#: The name of the last line of all.
LAST_WORD = "supervisor_stopped"

#: Seconds for each of the last words: gap records, leases, the last status, telemetry.
FAREWELL = 1.0


def run(settings: Settings, only: Sequence[str] = (), *, load: Callable[[], Settings] | None = None) -> int:
    """Run the feeds until a signal, or until none is left; return the exit code (0, or 1 if a feed failed or lost anything).

    ``load`` reads the settings anew at every SIGHUP; without it that signal ends the process, as it does by itself.

    Raises what `ingest.service.build.build` raises where settings name what does not exist, or Redis refuses us.
    """
    signals = StopSignals()
    signals.install(reloads=load is not None)
    plant = build(settings, only)
    calm_garbage_collection()
    supervisor = Supervisor(plant, settings.supervisor.shutdown_timeout, signals)
    if load is not None:
        supervisor.reload = Reloader(plant, settings, only, load, supervisor.wait).reload
    return supervisor.run()


def calm_garbage_collection() -> None:
    """Look for garbage less often, and never among what was there before the feeds start.

    Who has turned the search off, or has it still more seldom, keeps it so.
    """
    gc.collect()
    gc.freeze()
    if 0 < gc.get_threshold()[0] < GARBAGE_THRESHOLD:
        gc.set_threshold(GARBAGE_THRESHOLD)


class Supervisor:
    """Runs what `build` has put together."""

    def __init__(self, plant: Plant, shutdown_timeout: float, signals: StopSignals) -> None:
        self._plant = plant
        self._runners = plant.runners
        self._shutdown_timeout = shutdown_timeout
        self._signals = signals
        self._reporting = Event()
        self._broken = False  # a thread on which all feeds depend has crashed once too often
        self._summed_at = monotonic()
        self._summed: dict[FeedRunner, FeedNumbers] = {}
        #: What SIGHUP asks for.
        self.reload: Callable[[], object] = lambda: None

    def run(self) -> int:
        """Start everything, wait for the end, stop everything; return the exit code."""
        plant = self._plant
        plant.health.main.beat()
        if plant.listener is not None:
            plant.listener.start(routes(plant.health, plant.metrics.render))
            log_event(logging.INFO, "health_listening", {"url": plant.listener.url})
        keep = start("lease", lambda: run_restarting(plant.keeper.run, self._keeping_crashed, self._signals.stop))
        plant.gaps.start()
        plant.pauses.look()  # before the first connection
        for runner in self._runners:
            runner.start()
        report = start("report", lambda: plant.reporter.run(self._reporting))
        while not self._signals.stop.wait(TICK) and not all(runner.ended for runner in self._runners):
            self._look()
            if self._signals.reload.is_set():
                self._signals.reload.clear()
                self.reload()
        plant.health.stopping = True
        plant.health.main.rest()
        deadline = Deadline(self._shutdown_timeout)
        kept = self._shut_down(deadline)
        keep.join(min(FAREWELL, deadline.remaining()))
        self._reporting.set()
        report.join(min(FAREWELL, deadline.remaining() + FAREWELL))
        if not self._signals.at_once.is_set():
            plant.reporter.report(final=True)
        plant.close(FAREWELL)
        lost = self._runners.totals()["lost"] > 0  # also of feeds that have left
        code = 1 if self._broken or not kept or lost or any(self._fell_short(runner) for runner in self._runners) else 0
        self._say_last_word(code)
        return code

    def _fell_short(self, runner: FeedRunner) -> bool:
        """Tell whether a feed failed; a callback that hangs takes what was read with it."""
        return runner.failed or not runner.reading_ended()

    def _keeping_crashed(self, cause: BaseException, delay: float | None) -> None:
        """Tell that nobody keeps the leases for ``delay`` seconds; where it is for good, end, so that others may lead."""
        log_event(logging.ERROR, "lease_keeping_crashed", {"error": type(cause).__name__, "detail": str(cause), "delay": delay})
        if delay is None:
            self._broken = True
            self._signals.stop.set()

    def wait(self, condition: Callable[[], bool], deadline: Deadline) -> bool:
        """Go on looking after the feeds until a condition holds, the deadline is over or the process is to end; tell which."""
        looked_at = monotonic()
        while not condition():
            if deadline.expired or self._signals.stop.wait(POLL):
                return condition()
            if monotonic() - looked_at >= TICK:
                looked_at = monotonic()
                self._look()
        return True

    def _look(self) -> None:
        self._plant.health.main.beat()
        for runner in self._runners:
            runner.check_callback()
            if runner.is_through:
                self._plant.keeper.retire(runner.settings.name)
        if monotonic() - self._summed_at >= INTERVAL:
            self._summarise()

    def _shut_down(self, deadline: Deadline) -> bool:
        """Stop in order; return whether nothing is lost that belongs to no feed's count (gap records).

        First the reading, so that nothing new comes. Then what waits is handed over, under the leases, which are still renewed;
        what cannot be goes to the disk, that which is under way too. Then the gaps of all this are recorded; what of them cannot
        be goes to the disk as well, and the disks are given back. Last the leases are, so that the next leader finds all in its
        place: one that leads already looks for no spools. A second signal ends every wait.
        """
        self._plant.keeper.stand_down()
        for runner in self._runners:
            runner.stop_reading()
        closing = Deadline(min(CLOSING, deadline.remaining() / 2))
        for runner in self._runners:
            self._wait(runner.reading_ended, closing)
        publishing = Deadline(max(0.0, deadline.remaining() - min(SAVING, deadline.remaining() / 2)))
        for runner in self._runners:
            runner.drain(publishing)
        for runner in self._runners:
            self._wait(runner.publishing_ended, publishing)
        self._summarise()
        in_parallel(FeedRunner.finish, self._runners)
        unwritten = self._plant.gaps.close(0.0 if self._signals.at_once.is_set() else FAREWELL)
        self._plant.keeper.stop()
        kept = all(in_parallel(partial(_close, unwritten), self._runners))
        if not self._signals.at_once.is_set():
            self._plant.keeper.release(Deadline(FAREWELL))
        return kept

    def _wait(self, condition: Callable[[], bool], deadline: Deadline) -> None:
        while not condition() and not deadline.expired and not self._signals.at_once.wait(POLL):
            pass

    def _say_last_word(self, code: int) -> None:
        """Say in the last line what became of all that was read."""
        level = logging.INFO if code == 0 else logging.ERROR
        log_event(level, LAST_WORD, {**self._runners.totals(), "exit_code": code})

    def _summarise(self) -> None:
        now, summed = monotonic(), {}
        for runner in self._runners:
            name, numbers, before = runner.settings.name, runner.numbers(), self._summed.get(runner, FeedNumbers())
            log_event(logging.INFO, NAME, summary_fields(name, before, numbers, now - self._summed_at))
            summed[runner] = numbers
        self._summed, self._summed_at = summed, now


def _close(unwritten: Sequence[GapRecord], runner: FeedRunner) -> bool:
    return runner.close([record.encode() for record in unwritten if record.feed == runner.settings.name])
