"""Gaps to write and to compare."""

from __future__ import annotations

from typing import Any

from ingest.broker.gaps import GapRecord
from ingest.events import GapFound

PRODUCER = "5e9d4f6a-0c1b-8f2e-a3d4"
START_US = 1_790_000_000_000_000


def make_gap(number: int = 0, **values: Any) -> GapFound:
    """Return a gap that began ``number`` seconds after a fixed moment and lasted half a second."""
    from_us = START_US + number * 1_000_000
    known: dict[str, Any] = {
        "telemetry_id": "trades-eu",
        "feed": "trades",
        "cause": "disconnected",
        "from_us": from_us,
        "to_us": from_us + 500_000,
        "producer": PRODUCER,
        "last_seq": number,
    }
    return GapFound(**{**known, **values})


def make_record(number: int = 0, **values: Any) -> GapRecord:
    return GapRecord.of(make_gap(number, **values))
