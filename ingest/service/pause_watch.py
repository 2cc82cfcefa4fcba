"""Which feeds operators have paused: read from Redis, handed to the feeds.

The rule: while Redis is away everything stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ingest.broker.control import Control
from ingest.errors import BrokerError
from ingest.telemetry.facts import safe_text
from settings.model import FeedSettings


class Holdable(Protocol):
    """The part of a feed's runner that is needed here."""

    @property
    def settings(self) -> FeedSettings: ...
    def hold(self, by: str | None) -> None: ...


class PauseWatch:
    """Looks for one supervisor's feeds."""

    def __init__(self, control: Control, runners: Sequence[Holdable]) -> None:
        self._control = control
        self._runners = runners

    def look(self) -> bool:
        """Let every feed know whether it is paused; False if Redis did not say."""
        try:
            paused = self._control.paused()
        except BrokerError:
            return False  # the publishers tell of it
        for runner in self._runners:
            order = paused.get(runner.settings.name)
            runner.hold(None if order is None else safe_text(order.by))
        return True
