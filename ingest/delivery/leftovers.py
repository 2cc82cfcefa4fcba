"""What waits in a spool's folder for a feed that nobody runs any more, because it was renamed or removed.

The rule: it only looks, and only at files that no running process has; what cannot be read counts as empty.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from ingest.delivery.spool_lock import slots_in, try_lock
from ingest.errors import SpoolError


def left_over(directory: Path, feeds: Collection[str]) -> dict[str, int]:
    """Return how many messages wait in a folder for feeds other than ``feeds``, by their names."""
    found: Counter[str] = Counter()
    try:
        slots = slots_in(directory)
    except SpoolError:
        return {}
    for feed in sorted(slots.keys() - set(feeds)):
        found[feed] = sum(_waiting(directory, feed, slot) for slot in slots[feed])
    return dict(+found)


def _waiting(directory: Path, feed: str, slot: int) -> int:
    try:
        lock = try_lock(directory, feed, slot)
    except SpoolError:
        return 0
    if lock is None:
        return 0
    try:
        with closing(sqlite3.connect(f"{lock.path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT coalesce(sum(messages), 0) FROM chunk").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        lock.release()
