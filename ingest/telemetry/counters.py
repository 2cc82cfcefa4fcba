"""What the events add up to, per feed: its state, reconnects, failures by reason, and the last of them.

The rule: counts only what events say; numbers of the hot path (frames, messages) are counted where they arise.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.events import ConnectionFailed, ConnectionLost, ConnectionReady, Event, FeedGaveUp, MessageRejected, StateChanged
from ingest.telemetry.facts import event_name, safe_text


@dataclass(frozen=True, slots=True)
class FeedTally:
    """One feed's counts since the process started.

    ``endings`` counts connections and attempts that ended, by kind of reason; ``events`` counts everything
    that happened, by event name; ``rejected`` counts messages that Redis refused and we dropped.
    """

    state: str = "IDLE"
    connects: int = 0
    rejected: int = 0
    last_reason: str | None = None
    endings: Mapping[str, int] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)

    @property
    def reconnects(self) -> int:
        """How often the connection became ready again."""
        return max(0, self.connects - 1)


class CounterSink:
    """Keeps a `FeedTally` for every feed that an event has named; read from any thread."""

    name = "counters"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}

    def handle(self, event: Event) -> None:
        with self._lock:
            self._running.setdefault(event.telemetry_id, _Running()).add(event)

    def close(self) -> None:
        """Do nothing: the counts stay readable."""

    def tally(self, telemetry_id: str) -> FeedTally:
        """Return the counts of one feed; zeros where nothing has happened."""
        with self._lock:
            running = self._running.get(telemetry_id)
            return running.tally() if running is not None else FeedTally()


class _Running:
    """The counts of one feed while they grow."""

    __slots__ = ("connects", "endings", "events", "last_reason", "rejected", "state")

    def __init__(self) -> None:
        self.state = "IDLE"
        self.connects = self.rejected = 0
        self.last_reason: str | None = None
        self.endings: Counter[str] = Counter()
        self.events: Counter[str] = Counter()

    def add(self, event: Event) -> None:
        self.events[event_name(type(event))] += 1
        match event:
            case StateChanged(new=new):
                self.state = new
            case ConnectionReady():
                self.connects += 1
            case ConnectionFailed(reason=reason) | ConnectionLost(reason=reason):
                self.endings[reason.kind] += 1
                self.last_reason = safe_text(str(reason))
            case FeedGaveUp(reason=reason):
                self.last_reason = safe_text(str(reason))
            case MessageRejected():
                self.rejected += 1

    def tally(self) -> FeedTally:
        return FeedTally(self.state, self.connects, self.rejected, self.last_reason, dict(self.endings), dict(self.events))
