"""What every process of the system tells the others through Redis: a snapshot a second, gone when its writer is.

Keys, all below the broker's namespace:

* ``<ns>:__status__.<kind>.<id>``: a string, the snapshot as JSON; expires `RUNNING_TTL` seconds after the
  last one, a final one after `FINAL_TTL`. The expiry is the sign of life.
* ``<ns>:__status__``: a sorted set, the index: member ``<kind>.<id>``, score the wall-clock second at which that
  snapshot expires. Writers forget members an hour past it (clocks may differ), so readers need
  no right to write, and nobody ever walks the key space.

The rule: readers skip what they do not understand (newer formats, other writers' rubbish).
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Literal, cast

import redis

from ingest.broker.clients import translated
from ingest.broker.keys import Keys
from ingest.version import project_version

Kind = Literal["supervisor", "worker"]

#: Version of the snapshot; a reader understands its own and older ones.
FORMAT = 1

RUNNING_TTL = 10
FINAL_TTL = 120

#: Seconds after which the index forgets a member that has expired.
INDEX_MARGIN = 3600


def about_process() -> dict[str, Any]:
    """Return what every snapshot of this process says of it; ``started_at`` is now, in wall-clock seconds."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started_at": round(time.time(), 3),
        "version": project_version(),
    }


def publish_status(
    client: redis.Redis,
    namespace: str,
    kind: Kind,
    id: str,  # noqa: A002 - the snapshot's own word
    snapshot: Mapping[str, Any],
    final: bool = False,
) -> None:
    """Write one snapshot and its place in the index, in one round trip; raises `BrokerError`."""
    now = time.time()
    ttl = FINAL_TTL if final else RUNNING_TTL
    head = {"format": FORMAT, "kind": kind, "id": id, "at": round(now, 3), "final": final}
    member, keys = f"{kind}.{id}", Keys(namespace)
    with translated(), client.pipeline(transaction=True) as pipe:
        pipe.set(keys.status(member), json.dumps({**snapshot, **head}), ex=ttl)
        pipe.zadd(keys.statuses(), {member: now + ttl})
        pipe.zremrangebyscore(keys.statuses(), "-inf", now - INDEX_MARGIN)
        pipe.expire(keys.statuses(), FINAL_TTL + INDEX_MARGIN)
        pipe.execute()


def read_statuses(client: redis.Redis, namespace: str) -> list[dict[str, Any]]:
    """Return the snapshots that have not expired, ordered by kind and id; two round trips. Raises `BrokerError`."""
    keys = Keys(namespace)
    with translated():
        members = cast("list[bytes | str]", client.zrange(keys.statuses(), 0, -1))
        names = [member.decode() if isinstance(member, bytes) else member for member in members]
        texts = client.mget([keys.status(name) for name in names]) if names else []
    statuses = [status for text in texts if text is not None and (status := _parse(text)) is not None]
    return sorted(statuses, key=lambda status: (str(status["kind"]), str(status["id"])))


def _parse(text: bytes | str) -> dict[str, Any] | None:
    try:
        status = json.loads(text)
    except ValueError:
        return None
    if not isinstance(status, dict) or not {"format", "kind", "id", "at", "final"} <= status.keys():
        return None
    return status if isinstance(status["format"], int) and status["format"] <= FORMAT else None
