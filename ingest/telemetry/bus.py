"""Hand every event to every sink, each in its own lane: a bounded queue and a daemon thread.

The rule: `Bus.publish` never raises and never blocks. What a lane cannot hold is dropped for that sink
alone and counted; the first loss and the first exception of each sink are events themselves.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ingest.clock import Deadline
from ingest.events import Event, Publish, SinkFailed, SinkOverloaded

#: Seconds between two looks of a sink that wants to look.
TICK = 5.0

#: Events that may wait for one sink. A storm of reconnects is hundreds a second at most.
CAPACITY = 10_000


class Sink(Protocol):
    """Who is told of events; every call comes from the sink's own thread."""

    @property
    def name(self) -> str:
        """Say who this is, for reports and the thread's name."""

    def handle(self, event: Event) -> None:
        """Take one event; may raise, may take its time."""

    def close(self) -> None:
        """Finish what is buffered; called once, after the last event."""


@runtime_checkable
class TickingSink(Sink, Protocol):
    """A sink that has something to do now and then, though nothing happens."""

    def tick(self) -> None:
        """Look what is due; called from the sink's own thread, about every `TICK` seconds while no event comes."""


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """What became of the events for one sink."""

    handled: int
    failed: int
    dropped: int


class Bus:
    """Every event to every sink; safe to use from any thread."""

    def __init__(self, sinks: Sequence[Sink], *, capacity: int = CAPACITY) -> None:
        self._closed = False
        self._lanes = [_Lane(sink, capacity, self.publish) for sink in sinks]
        for lane in self._lanes:
            lane.start()

    def publish(self, event: Event) -> None:
        """Queue the event for every sink; after `close` it goes nowhere."""
        if self._closed:
            return
        # A plain loop over all lanes first: who is overloaded is told only after everybody has the event.
        first_losses = [lane for lane in self._lanes if lane.offer(event) == 1]
        for lane in first_losses:
            self._tell_others(lane, SinkOverloaded(telemetry_id=event.telemetry_id, sink=lane.name))

    def counts(self) -> dict[str, SinkCounts]:
        """Return per sink what was handled, failed and dropped so far."""
        return {lane.name: SinkCounts(lane.handled, lane.failed, lane.dropped) for lane in self._lanes}

    def close(self, timeout: float) -> bool:
        """Deliver what is queued and close the sinks, within ``timeout`` seconds; say whether all was done."""
        self._closed = True
        deadline = Deadline(timeout)
        # All lanes are told first, so that a slow one does not use up the time of the others.
        told = [lane.finish(deadline) for lane in self._lanes]
        joined = [lane.join(deadline) for lane in self._lanes]
        return all(told) and all(joined)

    def _tell_others(self, source: _Lane, event: Event) -> None:
        for lane in self._lanes:
            if lane is not source:
                lane.offer(event)


class _Lane:
    """One sink with its queue and thread."""

    def __init__(self, sink: Sink, capacity: int, report: Publish) -> None:
        self.name = sink.name
        self.handled = self.failed = self.dropped = 0
        self._sink = sink
        self._report = report
        self._queue: queue.Queue[Event | None] = queue.Queue(capacity)
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"telemetry-{sink.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, event: Event) -> int:
        """Queue the event and return 0; where there is no room, return how many were dropped by now."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            with self._counting:
                self.dropped += 1
                return self.dropped
        return 0

    def finish(self, deadline: Deadline) -> bool:
        """Queue the end after what is already there; False where the sink leaves no room in time."""
        try:
            self._queue.put(None, timeout=deadline.remaining())
        except queue.Full:
            return False
        return True

    def join(self, deadline: Deadline) -> bool:
        self._thread.join(deadline.remaining())
        return not self._thread.is_alive()

    def _run(self) -> None:
        for event in self._events():
            self._handle(event)
        try:
            self._sink.close()
        except Exception:  # noqa: BLE001 - a sink is foreign code, and at the end there is nobody left to tell
            self.failed += 1

    def _events(self) -> Iterator[Event]:
        """Yield the events until the end, and let the sink tick while there are none."""
        ticking = self._sink if isinstance(self._sink, TickingSink) else None
        while True:
            try:
                event = self._queue.get(timeout=None if ticking is None else TICK)
            except queue.Empty:
                if ticking is not None:
                    self._tick(ticking)
                continue
            if event is None:
                return
            yield event

    def _tick(self, sink: TickingSink) -> None:
        try:
            sink.tick()
        except Exception:  # noqa: BLE001 - a sink is foreign code, and this was no event's fault: counted, like one
            self.failed += 1

    def _handle(self, event: Event) -> None:
        try:
            self._sink.handle(event)
        except Exception as error:  # noqa: BLE001 - a sink is foreign code; its failure is counted and told
            self.failed += 1
            if self.failed == 1:
                self._report(SinkFailed(telemetry_id=event.telemetry_id, sink=self.name, cause=error))
        else:
            self.handled += 1
