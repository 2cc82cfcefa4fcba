"""Snapshots as processes write them, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from ingest.broker.status import Reading

NOW = 1_790_000_000.0


def supervisor(
    id_: str, *, at: float = NOW, final: bool = False, group: str = "", queues: Any = None, **feeds: Any
) -> dict[str, Any]:
    """Return a supervisor's snapshot; the keyword arguments are its feeds."""
    head = {"format": 1, "kind": "supervisor", "id": id_, "at": at, "final": final}
    return {**head, "group": group, "feeds": feeds, "queues": queues or {}}


def worker(id_: str, *, at: float = NOW, final: bool = False, **feeds: Any) -> dict[str, Any]:
    """Return a worker's snapshot; the keyword arguments are its feeds."""
    return {"format": 1, "kind": "worker", "id": id_, "at": at, "final": final, "feeds": feeds}


def reading(*statuses: dict[str, Any], age: float = 0.0, at: float = NOW) -> Reading:
    """Return a reading of these snapshots, each written ``age`` seconds ago."""
    return Reading(at, statuses, {status["id"]: age for status in statuses})
