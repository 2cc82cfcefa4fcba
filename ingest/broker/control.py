"""What operators ask of running supervisors through Redis: feeds that are not to be read for the time being.

Key, below the broker's namespace:

* ``<ns>:__paused__.<group>``: a hash, feed -> ``{"v", "by", "at"}`` as JSON: who paused it, and when (wall-clock seconds). It
  never expires: what a person has stopped stays so until a person lets it go on, through restarts of everything but Redis.

The rule: the field alone is the order; a record that cannot be read pauses as well as any other.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import redis

from ingest.broker.clients import translated
from ingest.broker.keys import FORMAT, Keys

#: Characters that ``by`` may have.
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Paused:
    """One paused feed: who paused it ("" if nobody knows), and when, in wall-clock seconds (0 if nobody knows)."""

    feed: str
    by: str
    at: float


class Control:
    """The orders for one group of supervisors. Everything here is one round trip and raises `ingest.errors.BrokerError`."""

    def __init__(self, client: redis.Redis, keys: Keys, group: str) -> None:
        self._client = client
        self._key = keys.paused(group)

    def pause(self, feed: str, by: str) -> bool:
        """Have the feed's supervisors close its connection and make no other; False if it was paused before, by whomever."""
        record = json.dumps({"v": FORMAT, "by": by[:_LONGEST_NAME], "at": round(time.time(), 3)})
        with translated():
            return bool(self._client.hsetnx(self._key, feed, record))

    def resume(self, feed: str) -> bool:
        """Let the feed go on; False if it was not paused."""
        with translated():
            return bool(self._client.hdel(self._key, feed))

    def paused(self) -> dict[str, Paused]:
        """Return the feeds that are paused."""
        with translated():
            records = self._client.hgetall(self._key)
        names = {(name.decode(errors="replace") if isinstance(name, bytes) else name): data for name, data in records.items()}
        return {name: _parse(name, data) for name, data in names.items()}


def _parse(feed: str, data: bytes | str) -> Paused:
    try:
        record = json.loads(data)
    except ValueError:
        record = None
    by, at = (record.get("by"), record.get("at")) if isinstance(record, dict) else (None, None)
    return Paused(feed, by if isinstance(by, str) else "", float(at) if isinstance(at, int | float) else 0.0)
