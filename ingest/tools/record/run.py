"""One recording from beginning to end: the feed's thread, the file, and the line that says what is in it.

The rule: it ends for one of five reasons (asked to, enough frames, enough time, a feed that gave up, a disk that refuses), and
the file is closed in order after each.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

from ingest.clock import Deadline, monotonic, wall_us
from ingest.connection.callbacks import SessionMaker
from ingest.connection.feed import AlwaysLeads, Feed, policy_of
from ingest.connection.states import State
from ingest.connection.status import FeedStatus
from ingest.connection.transport import Transport, connect
from ingest.connection.wakeup import Wakeup
from ingest.events import Event, GapFound
from ingest.records.delivered import Delivered
from ingest.records.format import EndEntry, Header
from ingest.records.scrub import Scrubber
from ingest.records.writing import FLUSH_INTERVAL, RecordWriter
from ingest.telemetry.facts import safe_text
from ingest.telemetry.log import LogSink
from ingest.telemetry.masking import hide_passing, secret_values_of
from ingest.tools.record.tap import FileSink, Tap, tapped
from settings.masking import mask_url
from settings.model import FeedSettings
from settings.wire import new_producer

#: Seconds that the feed has to close its connection.
CLOSING = 5.0

_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record: a feed with its code, into which file, and until when (None: until stopped).

    ``masks`` are further names of JSON members to mask; ``recorder`` says who writes the file.
    """

    feed: FeedSettings
    maker: SessionMaker
    retry_function: Any
    path: Path
    seconds: float | None = None
    frames: int | None = None
    masks: tuple[str, ...] = ()
    recorder: str = ""


def record(recording: Recording, stop: Flag, at_once: Flag) -> int:
    """Record until one of the reasons to end comes; return the exit code: 0, or 1 where the feed or the disk ended it.

    ``stop`` asks for an end in order, ``at_once`` for one without waiting. ``OSError`` where the file cannot be made.
    """
    feed = recording.feed
    writer = RecordWriter(recording.path, _header(recording))
    run = _Run(recording, writer, stop)
    began = monotonic()
    deadline = Deadline(recording.seconds if recording.seconds is not None else float("inf"))
    run.start()
    while run.alive and not deadline.expired and not stop.wait(min(FLUSH_INTERVAL, deadline.remaining())):
        writer.flush_due()
    run.stop()
    closing = Deadline(CLOSING)
    while run.alive and not closing.expired and not at_once.wait(_POLL):
        pass
    counts = {"received": run.tap.frames, "sent": run.tap.sent, "emitted": run.tap.emitted, "connections": run.tap.connections}
    writer.close(EndEntry(writer.now_us(), counts))
    print(
        f"recorded {feed.name}: {run.tap.frames} frames received, {run.tap.sent} sent, {run.tap.emitted} payloads, "
        f"{run.tap.connections} connections in {monotonic() - began:.1f} s; {writer.bytes_written} bytes in {recording.path}"
    )
    problem = f"{recording.path} cannot be written: {writer.failure}; what it holds can be replayed" if writer.failure else None
    problem = problem or run.problem
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


class _Run:
    """The feed and its thread."""

    def __init__(self, recording: Recording, writer: RecordWriter, stop: Flag) -> None:
        feed, self._wakeup, self._stop = recording.feed, Wakeup(), stop
        shown = {feed.name, feed.actor, feed.queue, feed.label}  # by these one finds things
        scrubber = Scrubber([value for value in secret_values_of(feed) if value not in shown], recording.masks)
        self.tap = Tap(writer, scrubber, most=recording.frames, enough=self.stop)
        self._log = LogSink()
        self._status = FeedStatus(feed.label, self._publish)
        self._feed = Feed(
            feed,
            recording.maker,
            policy_of(feed, recording.maker, recording.retry_function),
            FileSink(self.tap, Delivered(feed), self._wakeup.set),
            self._status,
            dial=tapped(self._connect, self.tap),
            wakeup=self._wakeup,
            stopping=stop.is_set,
            lead=AlwaysLeads(new_producer()),
        )
        self._crash: BaseException | None = None
        self._thread = Thread(target=self._read, name=f"feed-{feed.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self._wakeup.set()

    @property
    def problem(self) -> str | None:
        """Why the feed itself ended the recording, if it did."""
        if self._crash is not None:
            return f"a fault in the feed's loop: {type(self._crash).__name__}: {safe_text(str(self._crash))}"
        if self._status.state is State.FAILED:
            return f"the feed gave up: {safe_text(str(self._status.last_reason))}"
        return None

    def _connect(self, url: str, headers: Mapping[str, str]) -> Transport:
        feed = self._feed.settings
        hide_passing(feed, url, headers)  # from the log, too
        return connect(feed, url, headers, wakeup=self._wakeup, stopping=self._stop.is_set)

    def _read(self) -> None:
        try:
            self._feed.run()
        except Exception as fault:  # noqa: BLE001 - told at the end, after the file is closed in order
            self._crash = fault

    def _publish(self, event: Event) -> None:
        self.tap.tell(event)
        if not isinstance(event, GapFound):  # nothing is queued, so nothing is missing from a queue
            self._log.handle(event)


def _header(recording: Recording) -> Header:
    feed = recording.feed
    about = {
        "recorder": recording.recorder,
        "url": mask_url(feed.url, feed.secrets),
        "session": feed.session,
        "actor": feed.actor,
        "queue": feed.queue,
        "payload": feed.payload,
        "binary": feed.binary,
    }
    return Header(feed.name, wall_us(), about=about)
