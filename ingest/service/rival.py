"""Who stands in the way of a feed's lead: seen last, silent since, and told of now and then.

The rule: its silence is measured by our own clock alone, so that no other's that jumped can block a lead, or give one away.
"""

from __future__ import annotations

from ingest.broker.lease import Held
from ingest.events import FeedNameTaken, StandingBy

#: Seconds between two words of a process that stands by.
TELL_INTERVAL = 60.0

_REMEDY = "two feeds of one name on one Redis: give one another name, or keep the supervisors apart with [supervisor] group"


class Rival:
    """The other that leads, as far as one feed of this process knows; ``now`` is monotonic, in seconds."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._seen: Held | None = None
        self._seen_at = 0.0
        self._waits_since: float | None = None
        self._told_at = 0.0

    @property
    def seen(self) -> Held | None:
        """The lead as it was refused to us last; None where nobody is known to have it. Any thread may ask."""
        return self._seen

    @property
    def leader(self) -> str:
        """The producer that leads; "" where none is known. Any thread may ask."""
        seen = self._seen  # once: it may be gone at the next look
        return seen.leader if seen is not None else ""

    def silent(self, now: float, seconds: float) -> Held | None:
        """Return the leader that has given no sign of life for so many seconds."""
        return self._seen if self._seen is not None and now - self._seen_at >= seconds else None

    def see(self, held: Held, now: float) -> bool:
        """Take that the lead was refused; tell whether that is a sign of life, or another leader."""
        fresh = self._seen is None or self._seen[:2] != held[:2]
        if fresh:
            self._seen, self._seen_at = held, now
        return fresh

    def due(self, held: Held, now: float) -> FeedNameTaken | StandingBy | None:
        """Return what is to be told of the wait, at its beginning and then once in `TELL_INTERVAL`."""
        if self._waits_since is None:
            self._waits_since = now
        elif now - self._told_at < TELL_INTERVAL:
            return None
        self._told_at = now
        if held.is_other:
            return FeedNameTaken(telemetry_id=self._label, leader=held.leader, detail=_REMEDY)
        return StandingBy(telemetry_id=self._label, leader=held.leader, seconds=now - self._waits_since)

    def gone(self) -> None:
        """Take that nobody is in the way any more."""
        self._seen = self._waits_since = None
