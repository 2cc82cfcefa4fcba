"""What a feed shows of itself: its state, its counters, and the events that tell of every change.

The rule: the one place where a feed's state changes; written by the feed's own thread, read by any other.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from ingest.clock import Monotonic, monotonic, wall_us
from ingest.connection.calls import Call, HookCalls
from ingest.connection.retry import ConnectionEnd
from ingest.connection.states import State, Trigger, after
from ingest.errors import EndReason, Fenced, Stopped
from ingest.events import (
    ConnectionFailed,
    ConnectionLost,
    ConnectionReady,
    ConnectionStatus,
    ConnectionTimedOut,
    FeedBlocked,
    FeedGaveUp,
    FeedUnblocked,
    Publish,
    StateChanged,
)

#: Seconds for which reading must stand still to be worth telling: under full load it stops and goes on many times a second.
BLOCKED_AFTER = 1.0

#: Positions remembered until what they go with is safe; of more, the oldest go.
MOST_PLACES = 1000


class FeedStatus:
    """State and counters of one feed, over all its connections."""

    def __init__(self, label: str, publish: Publish, clock: Monotonic = monotonic, wall: Callable[[], int] = wall_us) -> None:
        self.label = label
        self.publish = publish
        self.clock = clock
        self.wall = wall
        self.state = State.IDLE
        self.frames = 0
        self.bytes = 0
        self.reconnects = 0
        self.last_reason: EndReason | None = None
        self.round_trip: float | None = None  # of the newest ping, in seconds
        self.running: Call | None = None  # the session's callback that runs now
        self.hooks = HookCalls(clock)  # what else of the user's code takes part, on other threads too
        self.heard_us = 0  # when the newest connection brought something, or became ready (wall clock)
        self.position_text: str | None = None  # where the stream is, as JSON
        self.places: deque[tuple[int, str]] = deque(maxlen=MOST_PLACES)  # positions of this tenure by the number they go with
        self.standby = False  # another process leads the feed
        self.missing_since: int | None = None  # when the gap that is open began (wall clock)
        self.unread_since: int | None = None  # since when nobody looks what comes (wall clock); None while somebody does
        self._blocked_at: float | None = None
        self._block_told = False
        self._readied_at: float | None = None

    @property
    def blocked(self) -> bool:
        """Whether reading has stopped because the backlog is full."""
        return self._blocked_at is not None

    def note_place(self, seq: int) -> None:
        """Note that the position goes with the emission of this number."""
        if self.position_text is not None:
            self.places.append((seq, self.position_text))

    def note_unread(self) -> None:
        """Note that what comes from now on is not read for the time being."""
        if self.unread_since is None:
            self.unread_since = self.wall()

    @property
    def position(self) -> Any:
        """What the session said of where the stream is, with the last emission; a copy. None if it never did."""
        text = self.position_text
        return None if text is None else json.loads(text)

    def shown(self, slow_after: float) -> str:
        """Return the state as users see it.

        Before the feed's own state come a callback that runs longer than ``slow_after`` seconds, that another process leads, and
        a full backlog.
        """
        if self.slow(slow_after):
            return "SLOW_CALLBACK"
        if self.standby:
            return "STANDBY"
        return "BLOCKED" if self.blocked else self.state.value

    def slow(self, after: float) -> list[Call]:
        """Return the calls of the user's code that have been running for longer than ``after`` seconds."""
        running, now = self.running, self.clock()
        calls = self.hooks.running() if running is None else [running, *self.hooks.running()]
        return [call for call in calls if now - call.since > after]

    def move(self, trigger: Trigger) -> None:
        """Go to the next state by the table, and tell it."""
        old, self.state = self.state, after(self.state, trigger)
        if old is not self.state:
            self.publish(StateChanged(telemetry_id=self.label, old=old.value, new=self.state.value))

    def readied(self, url: str) -> None:
        """The connection is ready: the success of the seed's telemetry."""
        self.move(Trigger.READIED)
        self._readied_at = self.clock()
        self.heard_us = self.wall()
        self.publish(ConnectionReady(telemetry_id=self.label, url=url))
        self._tell_status(1)

    def end_of(self, reason: EndReason) -> ConnectionEnd:
        """Note and tell that the connection, or the attempt, is over."""
        readied_at, self._readied_at = self._readied_at, None
        end = ConnectionEnd(reason, readied_at is not None, self.clock() - readied_at if readied_at is not None else 0.0)
        self.last_reason = reason
        if reason.setting is not None:
            self.publish(ConnectionTimedOut(telemetry_id=self.label, which=reason.setting))
        if end.was_ready:
            self.publish(ConnectionLost(telemetry_id=self.label, reason=reason, lasted=end.lasted))
            self._tell_status(0)
        elif not isinstance(reason, Stopped | Fenced):
            self.publish(ConnectionFailed(telemetry_id=self.label, reason=reason))
        return end

    def gave_up(self, reason: EndReason) -> None:
        """No further attempt: `State.FAILED`, and why."""
        self.last_reason = reason
        self.move(Trigger.GAVE_UP)
        self.publish(FeedGaveUp(telemetry_id=self.label, reason=reason))

    def block(self) -> float | None:
        """Reading has stopped, or still stands: told once it has stood for `BLOCKED_AFTER`.

        Returns the seconds until then, None after it.
        """
        now = self.clock()
        if self._blocked_at is None:
            self._blocked_at = now
        if self._block_told:
            return None
        if now - self._blocked_at < BLOCKED_AFTER:
            return BLOCKED_AFTER - (now - self._blocked_at)
        self._block_told = True
        self.publish(FeedBlocked(telemetry_id=self.label))
        return None

    def unblock(self) -> None:
        """Reading goes on."""
        if self._block_told and self._blocked_at is not None:
            self.publish(FeedUnblocked(telemetry_id=self.label, seconds=self.clock() - self._blocked_at))
        self._blocked_at, self._block_told = None, False

    @contextmanager
    def calling(self, where: str) -> Iterator[None]:
        """Show that the user's code runs, so that others can see it hang."""
        self.running = Call(where, self.clock())
        try:
            yield
        finally:
            self.running = None

    def _tell_status(self, value: Literal[0, 1]) -> None:
        self.publish(ConnectionStatus(telemetry_id=self.label, value=value))
