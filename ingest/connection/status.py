"""What a feed shows of itself: its state, its counters, and the events that tell of every change.

The rule: the one place where a feed's state changes; written by the feed's own thread, read by any other.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from ingest.clock import Monotonic, monotonic, wall_us
from ingest.connection.calls import Call, HookCalls
from ingest.connection.retry import ConnectionEnd
from ingest.connection.states import State, Trigger, after
from ingest.errors import EndReason, Fenced, Paused, Stopped
from ingest.events import (
    ConnectionFailed,
    ConnectionLost,
    ConnectionReady,
    ConnectionStatus,
    ConnectionTimedOut,
    FeedBlocked,
    FeedGaveUp,
    FeedPaused,
    FeedResumed,
    FeedUnblocked,
    Publish,
    StateChanged,
)
from ingest.measures import SECONDS, SIZES, Histogram, Pulse

#: Seconds for which reading must stand still to be worth telling: under full load it stops and goes on many times a second.
BLOCKED_AFTER = 1.0

#: All states that `FeedStatus.shown` may return.
SHOWN = (*(state.value for state in State), "BLOCKED", "STANDBY", "SLOW_CALLBACK")

#: Seconds that `FeedStatus.reconnects_lately` looks back, and how many it counts at most.
LATELY = 600.0
MOST_LATELY = 1000

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
        self.bytes = 0  # read from the server after the upgrade, without TLS, before a message is inflated
        self.reconnects = 0
        self.reconnect_reasons: Counter[str] = Counter()  # kinds of `EndReason`
        self.last_reason: EndReason | None = None
        self.round_trip: float | None = None  # of the newest ping, in seconds
        self.pulse = Pulse(clock)  # of the thread that reads
        self.round_trips = Histogram(SECONDS)
        self.handler_seconds = Histogram(SECONDS)  # what the session took for all frames of one read
        self.read_frames = Histogram(SIZES)  # what one read brought
        self.running: Call | None = None  # the session's callback that runs now
        self.hooks = HookCalls(clock)  # what else of the user's code takes part, on other threads too
        self.heard_us = 0  # when the newest connection brought something, or became ready (wall clock)
        self.position_text: str | None = None  # where the stream is, as JSON
        self.places: deque[tuple[int, str]] = deque(maxlen=MOST_PLACES)  # positions of this tenure by the number they go with
        self.missing_since: int | None = None  # when the gap that is open began (wall clock)
        self.unread_since: int | None = None  # since when nobody looks what comes (wall clock); None while somebody does
        self._moved_us = wall()
        self._down_us: int | None = self._moved_us  # since when there is no ready connection; None while there is one
        self._reconnected: deque[float] = deque(maxlen=MOST_LATELY)
        self._standby_us: int | None = None
        self._blocked_at: float | None = None
        self._blocked_us = 0
        self._block_told = False
        self._readied_at: float | None = None
        self._paused_at: float | None = None

    @property
    def blocked(self) -> bool:
        """Whether reading has stopped because the backlog is full."""
        return self._blocked_at is not None

    @property
    def standby(self) -> bool:
        """Whether another process leads the feed."""
        return self._standby_us is not None

    @standby.setter
    def standby(self, value: bool) -> None:
        if value != self.standby:
            self._standby_us = self.wall() if value else None
            self._begin_anew()

    @property
    def paused(self) -> bool:
        """Whether an operator has paused the feed, and it obeys."""
        return self._paused_at is not None

    @property
    def down_since(self) -> float | None:
        """Since when there should be a ready connection and is none, over all attempts (wall-clock s); None: there is one."""
        down_us = self._down_us
        return None if down_us is None else down_us / 1_000_000

    @property
    def reconnects_lately(self) -> int:
        """How many connections or attempts of the last `LATELY` seconds were tried again; at most `MOST_LATELY` are counted."""
        after = self.clock() - LATELY
        return sum(at > after for at in self._reconnected.copy())

    def note_reconnect(self, reason: EndReason) -> None:
        """Count a connection, or an attempt, that ended and is tried again."""
        self.reconnects += 1
        self.reconnect_reasons[reason.kind] += 1
        self._reconnected.append(self.clock())

    def note_round_trip(self, seconds: float) -> None:
        """Note how long the answer to a ping took."""
        self.round_trip = seconds
        self.round_trips.add(seconds)

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
        """Return the state as users see it."""
        return self.showing(slow_after)[0]

    def showing(self, slow_after: float) -> tuple[str, float]:
        """Return the state as users see it, and since when it is so (wall-clock seconds).

        Before the feed's own state come a callback that runs longer than ``slow_after`` seconds, a pause, that another process
        leads, and a full backlog.
        """
        slow, standby_us = self.slow(slow_after), self._standby_us
        if slow:
            lasted = self.clock() - min(call.since for call in slow)
            return "SLOW_CALLBACK", round(self.wall() / 1_000_000 - lasted, 1)
        if self.state is State.PAUSED:
            return State.PAUSED.value, self._moved_us / 1_000_000
        if standby_us is not None:
            return "STANDBY", standby_us / 1_000_000
        if self.blocked:
            return "BLOCKED", self._blocked_us / 1_000_000
        return self.state.value, self._moved_us / 1_000_000

    def slow(self, after: float) -> list[Call]:
        """Return the calls of the user's code that have been running for longer than ``after`` seconds."""
        running, now = self.running, self.clock()
        calls = self.hooks.running() if running is None else [running, *self.hooks.running()]
        return [call for call in calls if now - call.since > after]

    def move(self, trigger: Trigger) -> None:
        """Go to the next state by the table, and tell it."""
        old, self.state = self.state, after(self.state, trigger)
        if old is not self.state:
            self._moved_us = self.wall()
            self.publish(StateChanged(telemetry_id=self.label, old=old.value, new=self.state.value))

    def readied(self, url: str) -> None:
        """The connection is ready: the success of the seed's telemetry."""
        self.move(Trigger.READIED)
        self._readied_at = self.clock()
        self.heard_us = self.wall()
        self._down_us = None
        self.publish(ConnectionReady(telemetry_id=self.label, url=url))
        self._tell_status(1)

    def end_of(self, reason: EndReason) -> ConnectionEnd:
        """Note and tell that the connection, or the attempt, is over."""
        readied_at, self._readied_at = self._readied_at, None
        end = ConnectionEnd(reason, readied_at is not None, self.clock() - readied_at if readied_at is not None else 0.0)
        self.last_reason = reason
        if end.was_ready:
            self._down_us = self.wall()
        if reason.setting is not None:
            self.publish(ConnectionTimedOut(telemetry_id=self.label, which=reason.setting))
        if end.was_ready:
            self.publish(ConnectionLost(telemetry_id=self.label, reason=reason, lasted=end.lasted))
            self._tell_status(0)
        elif not isinstance(reason, Stopped | Fenced | Paused):
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
            self._blocked_us = self.wall()
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

    def pause(self, by: str) -> None:
        """There is no connection, and none is made before `resume`; ``by`` is who wants that."""
        if self.state is not State.PAUSED:
            self.move(Trigger.PAUSE)
        if self._paused_at is None:
            self._paused_at = self.clock()
            self.publish(FeedPaused(telemetry_id=self.label, by=by))

    def resume(self) -> None:
        """The pause is over, if there was one."""
        if self.state is State.PAUSED:
            self.move(Trigger.RESUME)
            self._begin_anew()
        if self._paused_at is not None:
            seconds, self._paused_at = self.clock() - self._paused_at, None
            self.publish(FeedResumed(telemetry_id=self.label, seconds=seconds))

    @contextmanager
    def calling(self, where: str) -> Iterator[None]:
        """Show that the user's code runs, so that others can see it hang."""
        self.running = Call(where, self.clock())
        try:
            yield
        finally:
            self.running = None

    def _begin_anew(self) -> None:
        """Take it that a connection is wanted only from now on."""
        if self._down_us is not None:
            self._down_us = self.wall()

    def _tell_status(self, value: Literal[0, 1]) -> None:
        self.publish(ConnectionStatus(telemetry_id=self.label, value=value))
