"""One process's snapshot, read with tolerance: older and newer versions write others, and Redis may hold anything.

The rule: pure; what is missing or of the wrong kind is a default here, so that nobody behind has to ask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest.broker.status import SILENT_AFTER

#: A snapshot as `ingest.broker.status` keeps it.
Snapshot = Mapping[str, Any]

#: States in which a supervisor of an older version, which does not tell of its lease, does not lead.
_NOT_LEADING = frozenset({"STANDBY", "STOPPED", "FAILED"})


@dataclass(frozen=True, slots=True)
class Told:
    """What a process told ``age`` seconds ago, and an earlier snapshot of it, if there is one."""

    status: Snapshot
    age: float = 0.0
    before: Snapshot | None = None

    @property
    def id(self) -> str:
        return str(self.status["id"])

    @property
    def name(self) -> str:
        return short_name(self.id)

    @property
    def kind(self) -> str:
        return str(self.status["kind"])

    @property
    def final(self) -> bool:
        return bool(self.status["final"])

    @property
    def alive(self) -> bool:
        return not self.final and self.age <= SILENT_AFTER

    @property
    def at(self) -> float:
        """When it was written, by the writer's wall clock (seconds)."""
        return number(self.status, "at")

    @property
    def group(self) -> str:
        return text(self.status, "group")

    @property
    def feeds(self) -> Mapping[str, Mapping[str, Any]]:
        return tables(self.status, "feeds")

    @property
    def queues(self) -> Mapping[str, Mapping[str, Any]]:
        return tables(self.status, "queues")

    def feed(self, name: str) -> Mapping[str, Any]:
        return self.feeds.get(name, {})

    def leads(self, name: str) -> bool:
        """Whether it runs and leads a feed."""
        numbers = self.feed(name)
        says = numbers.get("lease", "leads" if text(numbers, "state") not in _NOT_LEADING else "none")
        return self.alive and says == "leads"

    def stands_by(self, name: str) -> bool:
        """Whether it runs and waits to lead a feed."""
        numbers = self.feed(name)
        waits = numbers.get("lease") == "stands_by" or text(numbers, "state") == "STANDBY"
        return self.alive and waits and not self.has_name_taken(name)

    def has_name_taken(self, name: str) -> bool:
        """Whether it runs and cannot lead a feed, because another feed of that name leads."""
        return self.alive and self.feed(name).get("name_taken") is True

    def rate(self, name: str, count: str) -> float | None:
        """Return by how much a feed's count grew per second; None without an earlier snapshot, 0 if it is silent."""
        if not self.alive:
            return 0.0
        seconds = self._seconds()
        if seconds is None or self.before is None:
            return None
        return max(0.0, number(self.feed(name), count) - number(tables(self.before, "feeds").get(name, {}), count)) / seconds

    def growth(self, queue: str) -> float | None:
        """Return by how much a queue's depth grew per second (below 0: shrank); None without an earlier snapshot."""
        seconds = self._seconds()
        earlier = tables(self.before, "queues").get(queue) if self.before is not None else None
        if seconds is None or earlier is None:
            return None
        return (number(self.queues.get(queue, {}), "depth") - number(earlier, "depth")) / seconds

    def _seconds(self) -> float | None:
        """Return the seconds between the two snapshots, by the writer's clock."""
        seconds = self.at - number(self.before, "at") if self.before is not None else 0.0
        return seconds if seconds > 0 else None


def short_name(process: str) -> str:
    """Return ``host:pid`` of a process's id, which ends with a random word."""
    return process.rpartition(":")[0] or process


def number(values: Mapping[str, Any], key: str) -> float:
    """Return a number, 0 where there is none."""
    found = maybe(values, key)
    return 0.0 if found is None else found


def count(values: Mapping[str, Any], key: str) -> int:
    """Return a whole number, 0 where there is none."""
    return int(number(values, key))


def maybe(values: Mapping[str, Any], key: str) -> float | None:
    """Return a number, None where there is none."""
    value = values.get(key)
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable and value is not None else None


def text(values: Mapping[str, Any], key: str) -> str:
    """Return a text, "" where there is none."""
    value = values.get(key)
    return value if isinstance(value, str) else ""


def counts(values: Mapping[str, Any], key: str) -> dict[str, int]:
    """Return a table of whole numbers, without what is none."""
    table = values.get(key)
    return {name: count(table, name) for name in table if maybe(table, name)} if isinstance(table, dict) else {}


def tables(values: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """Return a table of tables, without what is none."""
    table = values.get(key)
    return {name: inner for name, inner in table.items() if isinstance(inner, dict)} if isinstance(table, dict) else {}
