"""Records of a test's own, and the commands that make and play them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ingest.records.format import CLOSE, TEXT, VERSION, EmittedEntry, EndEntry, Entry, EventEntry, FrameEntry, Header
from ingest.records.reading import RecordReader
from ingest.records.writing import RecordWriter

ROOT = Path(__file__).resolve().parents[2]

#: Wall clock at which the records of tests began.
STARTED_US = 1_700_000_000_000_000


def text(at_us: int, content: str, *, outbound: bool = False) -> FrameEntry:
    return FrameEntry(at_us, TEXT, content.encode(), outbound)


def close(at_us: int, code: int, reason: str = "") -> FrameEntry:
    return FrameEntry(at_us, CLOSE, code.to_bytes(2, "big") + reason.encode())


def connection(
    begins_us: int, frames: Sequence[str], *, subscribes: Sequence[str] = (), every_us: int = 1000, end: Sequence[Entry] = ()
) -> list[Entry]:
    """Return one connection: what is sent at its beginning, a frame every so often, and what ends it."""
    sent = [text(begins_us, content, outbound=True) for content in subscribes]
    came: list[Entry] = []
    for at, frame in enumerate(frames, start=1):
        came += [text(begins_us + at * every_us, frame), EmittedEntry(begins_us + at * every_us, (frame,))]
    opening = [EventEntry(begins_us, "connecting"), EventEntry(begins_us, "upgraded"), *sent, EventEntry(begins_us, "subscribed")]
    return [*opening, EventEntry(begins_us, "ready"), *came, *end]


def lost(at_us: int, reason: str) -> EventEntry:
    return EventEntry(at_us, "lost", {"reason": reason, "detail": reason})


def write_record(
    path: Path, entries: Iterable[Entry], *, feed: str = "trades", ended: bool = True, version: int = VERSION
) -> Path:
    """Write a record; without its end if it is not ``ended``, as after a SIGKILL."""
    writer = RecordWriter(path, Header(feed, STARTED_US, version))
    writer.write(*entries)
    writer.flush()
    if ended:
        writer.close(EndEntry(0))
    return path


def read_record(path: Path) -> tuple[list[Entry], str | None]:
    with RecordReader(path) as record:
        return list(record), record.problem


class Command:
    """``python -m ingest …`` at work in a folder; ended by pid at the end of the test."""

    def __init__(self, folder: Path, *arguments: str, limit_bytes: int | None = None, **environ: str) -> None:
        self._out, self._err = folder / "command.out", folder / "command.err"
        ours = ("REDIS_URL", "FEEDS_FILE", "SENTRY_DSN", "LOG_LEVEL", "LOG_FORMAT")
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        run = [sys.executable, "-m", "ingest", *arguments]
        if limit_bytes is not None:  # what ulimit counts in blocks of 1024 bytes
            run = ["bash", "-c", f'ulimit -f {limit_bytes // 1024}; exec "$@"', "bash", *run]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                run, cwd=folder, env={**kept, "PYTHONPATH": f"{folder}:{ROOT}", **environ}, stdout=out, stderr=err
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait(self, timeout: float = 60.0) -> int:
        return self.process.wait(timeout)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if error is not None:
            error.add_note(f"--- the command said ---\n{self.out}{self.err}")
