"""Tells when Redis became unavailable and when it recovered: once each.

The rule: a single broken connection that is replaced at once is no outage; a time-out, a refusal, or a second failure is.
"""

from __future__ import annotations

from ingest.errors import BrokerError, BrokerUnreachable
from ingest.events import BrokerRecovered, BrokerUnavailable, Event


class Outage:
    """The time between a first failure and the next success of one publisher."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._since: float | None = None
        self._told = False
        self._by_reply = False  # a join proves nothing where it was the messages that were refused

    def failed(self, error: BrokerError, attempts: int, now: float) -> tuple[Event, ...]:
        """Take a broken line or a join that failed, after ``attempts`` without success."""
        lone = type(error) is BrokerUnreachable and attempts <= 1
        return self._begin(error, now, tell=not lone)

    def refused(self, error: BrokerError, now: float) -> tuple[Event, ...]:
        """Take an error in place of a call's result."""
        self._by_reply = True
        return self._begin(error, now, tell=True)

    def joined(self, now: float) -> tuple[Event, ...]:
        """Take a join that worked."""
        return () if self._by_reply else self.ended(now)

    def ended(self, now: float) -> tuple[Event, ...]:
        """Take a call that Redis admitted."""
        events: tuple[Event, ...] = ()
        if self._told and self._since is not None:
            events = (BrokerRecovered(telemetry_id=self._label, seconds=max(0.0, now - self._since)),)
        self._since, self._told, self._by_reply = None, False, False
        return events

    def _begin(self, error: BrokerError, now: float, *, tell: bool) -> tuple[Event, ...]:
        if self._since is None:
            self._since = now
        if self._told or not tell:
            return ()
        self._told = True
        return (BrokerUnavailable(telemetry_id=self._label, detail=str(error)),)
