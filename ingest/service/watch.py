"""Whether anybody takes what we put in a queue: a mistyped actor or queue name must not be a silent loss.

The rule: pure; observations go in, events come out, at most one per episode.
"""

from __future__ import annotations

from collections import deque

from ingest.broker.queues import QueueDepth
from ingest.events import DeadLettersGrew, Event, QueueStalled

#: Seconds without anything taken after which a growing queue is reported.
STALLED_AFTER = 60.0

#: Seconds that `QueueWatch.died_lately` looks back.
LATELY = 60.0


class QueueWatch:
    """Observes one queue for one feed's label."""

    def __init__(self, label: str, queue: str, high_watermark: int) -> None:
        self.label = label
        self.queue = queue
        self._high = high_watermark
        self._head: bytes | None = None
        self._since = self._seen = 0.0
        self._depth = 0
        self._reported = False
        self._dead: int | None = None
        self._deaths: deque[tuple[float, int]] = deque()

    @property
    def high_watermark(self) -> int:
        """The ready messages at which feeds stop to enqueue."""
        return self._high

    @property
    def died_lately(self) -> int:
        """The dead letters that came in the last minute before the last observation, whatever became of them."""
        return sum(added for _, added in self._deaths)

    @property
    def stalled_seconds(self) -> float:
        """For how long nobody had taken anything at the last observation; 0 where that was not worth an event."""
        return self._seen - self._since if self._reported else 0.0

    def observe(self, state: QueueDepth, now: float) -> list[Event]:
        """Return what this observation at ``now`` (monotonic seconds) tells."""
        self._seen = now
        return self._stalled(state, now) + self._died(state, now)

    def _stalled(self, state: QueueDepth, now: float) -> list[Event]:
        if state.head is None or state.head != self._head:  # consumers take from the head: a new head, or none, is progress
            self._head, self._since, self._depth, self._reported = state.head, now, state.ready, False
            return []
        grew = state.ready > self._depth or state.ready >= self._high
        if self._reported or not grew or now - self._since < STALLED_AFTER:
            return []
        self._reported = True
        return [QueueStalled(telemetry_id=self.label, queue=self.queue, depth=state.ready, seconds=now - self._since)]

    def _died(self, state: QueueDepth, now: float) -> list[Event]:
        before, self._dead = self._dead, state.dead
        while self._deaths and now - self._deaths[0][0] >= LATELY:
            self._deaths.popleft()
        if before is None or state.dead <= before:
            return []
        self._deaths.append((now, state.dead - before))
        return [DeadLettersGrew(telemetry_id=self.label, queue=self.queue, added=state.dead - before, total=state.dead)]
