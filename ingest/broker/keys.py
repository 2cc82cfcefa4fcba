"""Names every Redis key that Python touches; the scripts document what is in them.

The rule: a key's name is written here and nowhere else, and all begin with the namespace.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Version of what we keep in Redis beside Dramatiq's own keys; one minor version reads the other's.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one Dramatiq namespace."""

    namespace: str

    def messages(self, queue: str) -> str:
        """Dramatiq's list of the ids that wait in a queue."""
        return f"{self.namespace}:{queue}"

    def message_data(self, queue: str) -> str:
        """Dramatiq's hash of a queue's messages by id."""
        return f"{self.namespace}:{queue}.msgs"

    def rate(self, queue: str) -> str:
        """The arrival time of a queue's rate limit (enqueue.lua)."""
        return f"{self.namespace}:__rate__.{queue}"

    def feed(self, group: str, feed: str) -> str:
        """What the supervisors of a feed share (lease.lua)."""
        return f"{self.namespace}:__feed__.{group}.{feed}"

    def gaps(self, group: str, feed: str) -> str:
        """The newest gaps of a feed (gaps.lua)."""
        return f"{self.namespace}:__gaps__.{group}.{feed}"

    def history(self, group: str, feed: str) -> str:
        """What a feed did over the last hour (history.py)."""
        return f"{self.namespace}:__history__.{group}.{feed}"

    def connections(self, group: str, feed: str) -> str:
        """What happened to a feed's connections (history.py)."""
        return f"{self.namespace}:__connections__.{group}.{feed}"

    def heartbeats(self) -> str:
        """Dramatiq's sorted set of workers by their last sign of life."""
        return f"{self.namespace}:__heartbeats__"

    def fetched(self, worker: str, queue: str) -> str:
        """Dramatiq's set of ids that a worker has fetched from a queue and not acknowledged."""
        return f"{self.namespace}:__acks__.{worker}.{queue}"

    def dead_letters(self, queue: str) -> str:
        """Dramatiq's sorted set of the ids of a queue's dead letters."""
        return f"{self.namespace}:{queue}.XQ"

    def dead_letter_data(self, queue: str) -> str:
        """Dramatiq's hash of a queue's dead letters by id."""
        return f"{self.namespace}:{queue}.XQ.msgs"

    def paused(self, group: str) -> str:
        """Which feeds of a group are paused (control.py)."""
        return f"{self.namespace}:__paused__.{group}"

    def statuses(self) -> str:
        """The index of what processes tell of themselves (status.py)."""
        return f"{self.namespace}:__status__"

    def status(self, member: str) -> str:
        """What one process tells of itself; ``member`` is its name in the index."""
        return f"{self.namespace}:__status__.{member}"
