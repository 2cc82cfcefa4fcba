"""One run from start to end: server, simulator, workers, supervisor; and in the opposite order back.

The rule: whatever happens in between, `_end` runs, and nothing that was started outlives it.
"""

from __future__ import annotations

import math
import re
import shlex
import time
from collections.abc import Callable
from typing import TextIO

from ingest.clock import monotonic
from ingest.tools.dev.crew import Crew, Ended
from ingest.tools.dev.plan import Plan
from ingest.tools.dev.progress import Progress
from ingest.tools.dev.readings import Left, Readings
from ingest.tools.dev.screen import Guarded, Screen, make_screen
from ingest.tools.dev.stop import StopWishes
from ingest.tools.dev.verdict import Outcome, problems, remarks

#: What a process must say when it is ready to be connected to, and the environment's name for it.
SIMULATOR_READY = re.compile(r"listening on (ws://\S+)")
SIMULATOR_URL = "SIMULATOR_URL"

READING_EVERY = 1.0
START_TIMEOUT = 20.0
#: Seconds that the workers get to empty the queues once nothing new comes.
EMPTYING = 10.0
#: How often the server is asked for what everything is judged by; each question has its own time-out.
LAST_ATTEMPTS = 3
#: Seconds that each process gets when there is no server any more to which it could hand over anything.
GRACE_WITHOUT_SERVER = 3.0

SERVER_GRACE, SIMULATOR_GRACE = 5.0, 5.0
#: Above the Procfile's own 25 seconds.
WORKER_GRACE = 30.0
#: What a supervisor needs beyond its `shutdown_timeout` to say its last words.
SUPERVISOR_MARGIN = 5.0


class StartFailed(Exception):
    """Something did not come up; the text says what, and its last words."""


def run(plan: Plan, wishes: StopWishes, stream: TextIO) -> int:
    """Carry out a plan, showing it on ``stream``, until it ends or someone wishes so; return the exit code."""
    screen = Guarded(make_screen(stream), wishes.ask)
    try:
        return Run(plan, screen, wishes)()
    finally:
        screen.close(())  # for the terminal's sake, should the run itself have failed


class Run:
    """Carries out a plan."""

    def __init__(self, plan: Plan, screen: Screen, wishes: StopWishes) -> None:
        self._plan = plan
        self._screen = screen
        self._wishes = wishes
        self._env = dict(plan.env)
        self._progress = Progress(plan.settings.feeds)
        self._simulator_url = ""
        self._read_at = 0.0
        self._ended: list[Ended] = []
        self._crew = Crew(self._heard, self._tick, wishes.hurry)
        # A server of our own is used by nobody else, so every snapshot in it is ours, also that of a process already gone.
        self._readings = Readings(plan.settings.broker, self._crew.owns if plan.embedded is None else lambda pid: True)

    def __call__(self) -> int:
        """Run until someone wishes to stop, or something falls; return the exit code."""
        timed = False
        failure = None
        try:
            self._start()
            timed = self._watch()
        except StartFailed as error:
            failure = str(error)
        finally:
            left = self._end()
        return self._report(failure, left, timed=timed)

    def _start(self) -> None:
        """Start everything, what others need first."""
        if self._plan.embedded:
            self._crew.watchdog.clean(self._plan.embedded.directory)
            try:
                self._plan.embedded.make_directory()
            except OSError as error:
                raise StartFailed(f"server did not start: {error}") from error
            self._launch("server", self._plan.embedded.command(), SERVER_GRACE)
            self._await("server", self._readings.answers)
        if self._plan.simulator:
            self._launch("simulator", shlex.join(self._plan.simulator), SIMULATOR_GRACE)
            self._await("simulator", lambda: bool(self._simulator_url))
            self._env[SIMULATOR_URL] = self._simulator_url
        if not self._wishes.asked:
            self._launch("worker", self._plan.commands["worker"], WORKER_GRACE)
            grace = self._plan.settings.supervisor.shutdown_timeout + SUPERVISOR_MARGIN
            self._launch("ingest", self._plan.commands["ingest"], grace)

    def _launch(self, name: str, line: str, grace: float) -> None:
        self._crew.start(name, line, grace=grace, env=self._env, cwd=self._plan.directory)

    def _await(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait until a process is ready; or has fallen; or someone wishes to stop."""
        self._crew.wait(lambda: ready() or self._wishes.asked or name in self._crew.fallen(), START_TIMEOUT)
        if not self._wishes.asked and not ready():
            said = self._plan.embedded.last_words() if name == "server" and self._plan.embedded else ""
            raise StartFailed(f"{name} did not start\n{said}".rstrip())

    def _watch(self) -> bool:
        """Watch until the run is to end; return whether that was because its time was up."""
        end = monotonic() + self._plan.seconds if self._plan.seconds else None
        while not self._wishes.asked and not self._crew.fallen():
            if end is not None and monotonic() >= end:
                return True
            self._crew.listen(0.1)
        return False

    def _end(self) -> Left | None:
        """End everything in order, so that all that was read is handed over and all that was handed over is processed."""
        for name in self._crew.fallen():
            self._say(f"{name} ended unexpectedly; stopping the rest in order")
        if self._wishes.asked:
            self._say("stopping in order; Ctrl-C once more stops at once")
        self._dismiss("ingest")  # first: nothing new is read, what was read goes into the queue
        self._dismiss("simulator")
        if self._crew.running("worker") and self._server_runs():
            self._crew.wait(lambda: self._crew.fallen() != [] or self._empty(), EMPTYING)
        self._dismiss("worker")  # then: the queue is empty, or there is nobody to empty it
        left = self._read_last()
        self._dismiss("server")  # last: all others needed it
        self._readings.close()
        self._ended += self._crew.close()
        return left

    def _dismiss(self, name: str) -> None:
        if self._crew.started(name):
            self._ended.append(self._crew.end(name, math.inf if self._server_runs() else GRACE_WITHOUT_SERVER))

    def _server_runs(self) -> bool:
        return self._plan.embedded is None or self._crew.running("server")

    def _report(self, failure: str | None, left: Left | None, *, timed: bool) -> int:
        """Say what was wrong, and the numbers as the last line; return the exit code."""
        outcome = Outcome(
            feeds=self._progress.feeds(time.time()),
            totals=self._progress.totals(),
            ended=self._ended,
            supervisor_told=self._progress.final("supervisor"),
            workers_told=self._progress.final("worker"),
            left=left,
            timed=timed,
            most=max([feed.batch.size for feed in self._plan.settings.feeds.values()], default=1),
        )
        wrong = [failure] if failure else []
        wrong += ["ended at once, as asked: what was under way is lost"] if self._wishes.hurry.is_set() else problems(outcome)
        said = [f"dev: {text}" for text in [*wrong, *remarks(outcome)]]
        self._screen.close([*said, str(outcome.totals)])
        return 1 if wrong else 0

    def _tick(self) -> None:
        if self._server_runs() and monotonic() - self._read_at >= READING_EVERY:
            self._read()
            self._screen.show(self._progress.feeds(time.time()))

    def _read(self) -> None:
        self._progress.take(self._readings.snapshots())
        self._read_at = monotonic()

    def _read_last(self) -> Left | None:
        """Read the last words, and on a server of our own what is left; one too slow to answer at once is asked again."""
        for _ in range(LAST_ATTEMPTS):
            self._read()
            left = self._readings.left(self._queues()) if self._plan.embedded else None
            answered = left is not None or self._plan.embedded is None
            told = all(self._progress.final(kind) for kind in ("supervisor", "worker"))
            if (answered and told) or self._wishes.hurry.is_set() or not self._server_runs():
                break
        return left

    def _empty(self) -> bool:
        left = self._readings.left(self._queues())
        return left is not None and not left.waiting

    def _queues(self) -> set[str]:
        return {feed.queue for feed in self._plan.settings.feeds.values()} | self._progress.queues()

    def _heard(self, name: str, text: str) -> None:
        if name == "simulator" and (found := SIMULATOR_READY.search(text)):
            self._simulator_url = found[1]
        self._screen.line(name, text)

    def _say(self, text: str) -> None:
        self._screen.line("dev", text)
