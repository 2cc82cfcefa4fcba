"""One replay into a queue as a command: progress, Ctrl-C, and the last lines.

The rule: whatever ends it, the last lines say what is in the queue, and with which frame to go on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event as Flag

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ingest.clock import Deadline, monotonic
from ingest.records.reading import RecordReader
from ingest.telemetry.facts import safe_text
from ingest.tools.replay.queue import Numbers, QueueReplay, Running

#: Seconds in which what was read by then is handed over after a Ctrl-C.
CLOSING = 5.0

_TICK = 0.1


def replay_to_queue(
    path: Path, replay: QueueReplay, stop: Flag, at_once: Flag, *, shown: Callable[[], None] = lambda: None
) -> int:
    """Replay, and return the exit code: 0 if all of the record is in the queue, 1 if not.

    ``shown`` is called once the progress bar has the terminal: what is written to standard error after that appears above it.
    `BrokerError` where Redis refuses before anything is begun.
    """
    running = Running(replay)
    began = monotonic()
    with _Bar(replay.record) as bar:
        shown()
        running.start()
        while running.reading and not stop.wait(_TICK):
            bar.show(running.numbers())
        stopped = stop.is_set()
        running.stop()
        while running.reading and not at_once.wait(0.02):
            pass
        running.drain(Deadline(CLOSING if stopped else float("inf")))
        while running.publishing and not at_once.wait(_TICK):
            if stop.is_set() and not stopped:
                stopped = True
                running.drain(Deadline(CLOSING))
            bar.show(running.numbers())
        bar.show(running.numbers())
    return _last_lines(path, replay, running, monotonic() - began, stopped)


def _last_lines(path: Path, replay: QueueReplay, running: Running, seconds: float, stopped: bool) -> int:
    numbers = running.numbers()
    print(
        f"replayed {path} as {replay.feed.name}: {numbers.frames} frames, {numbers.connections} connections, "
        f"{numbers.enqueued} payloads in their queues, {numbers.dropped} dropped, {numbers.skipped} frames not read "
        f"in {seconds:.1f} s"
    )
    problems = []
    if running.crash is not None:
        problems.append(f"a fault in the replay: {type(running.crash).__name__}: {safe_text(str(running.crash))}")
    if running.failed is not None:
        problems.append(f"the session failed: {safe_text(str(running.failed))}; the rest of that connection was not read")
    if numbers.dropped:
        problems.append(f"{numbers.dropped} payloads are in no queue: they were refused, as told above")
    if stopped or running.crash is not None:
        problems.append(_how_to_go_on(*running.resume_at()))
    elif replay.record.problem is not None:
        problems.append(f"{path}: {replay.record.problem}; what is whole of it was replayed")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _how_to_go_on(frame: int, again: int) -> str:
    told = f"stopped: go on with --from {frame}"
    return f"{told}; {again} payloads of the read that begins there are in their queues already and come again" if again else told


class _Bar:
    """How far the record is read, on a terminal; nothing elsewhere."""

    def __init__(self, record: RecordReader) -> None:
        self._record = record
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task("replay", total=max(1, record.size), counts="")

    def show(self, numbers: Numbers) -> None:
        where = "waits for room in the queue" if numbers.waits else f"{numbers.held} to go"
        counts = f"{numbers.frames} frames, {numbers.enqueued} enqueued, {where}"
        self._progress.update(self._task, completed=self._record.position, counts=counts)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
