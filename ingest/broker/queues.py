"""How much waits in Dramatiq's queues, read from Dramatiq's own keys.

The rule: reads only, all queues in one round trip. Ready messages are the list ``<ns>:<queue>``; dead letters
the sorted set ``<ns>:<queue>.XQ`` (Dramatiq's ``dispatch.lua`` writes both).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import redis

from ingest.broker.clients import translated


class QueueDepth(NamedTuple):
    """One queue: messages that workers may take now, messages that were given up, and the id that is next to be taken."""

    ready: int
    dead: int
    head: bytes | None


def queue_depths(client: redis.Redis, namespace: str, queues: Sequence[str]) -> dict[str, QueueDepth]:
    """Return every queue's depth; raises `BrokerError`."""
    if not queues:
        return {}
    with translated(), client.pipeline(transaction=False) as pipe:
        for queue in queues:
            pipe.llen(f"{namespace}:{queue}")
            pipe.zcard(f"{namespace}:{queue}.XQ")
            pipe.lindex(f"{namespace}:{queue}", 0)
        seen = pipe.execute()
    return {queue: QueueDepth(*seen[3 * at : 3 * at + 3]) for at, queue in enumerate(queues)}
