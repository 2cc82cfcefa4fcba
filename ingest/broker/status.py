"""What every process of the system tells the others through Redis: a snapshot a second, gone when its writer is.

Keys, all below the broker's namespace:

* ``<ns>:__status__.<kind>.<id>``: a string, the snapshot as JSON; expires `RUNNING_TTL` seconds after the
  last one, a final one after `FINAL_TTL`. The expiry is the sign of life.
* ``<ns>:__status__``: a sorted set, the index: member ``<kind>.<id>``, score the wall-clock second at which that
  snapshot expires, for a final one an hour less. Writers forget members an hour past it (clocks may differ), so readers need
  no right to write, and nobody ever walks the key space. A member without a snapshot is thus a process of the last hour that
  ended without a last word: it was killed, or its machine or network is gone.

The rule: readers skip what they do not understand (newer formats, other writers' rubbish).
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import orjson
import redis

from ingest.broker.clients import translated
from ingest.broker.keys import Keys
from ingest.broker.refusal import Refusal
from ingest.version import project_version

Kind = Literal["supervisor", "worker"]

#: Version of the snapshot; a reader understands its own and older ones.
FORMAT = 1

#: Seconds after which a process that tells of itself every second counts as silent.
SILENT_AFTER = 5.0

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


@dataclass(frozen=True, slots=True)
class Gone:
    """A process that ended without a last word; ``seen`` is when it last gave a sign of life (its own wall clock, seconds)."""

    kind: str
    id: str
    seen: float


@dataclass(frozen=True, slots=True)
class Reading:
    """All processes at one moment; ``ages`` are seconds since each snapshot was written, by Redis's clock and nobody else's.

    ``refusal`` is why Redis takes no snapshots, where somebody has found it out.
    """

    at: float
    statuses: Sequence[Mapping[str, Any]]
    ages: Mapping[str, float]
    gone: Sequence[Gone] = ()
    refusal: Refusal | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nobody tells how it is, and not because all have said their last word."""
        if any(not status["final"] and self.ages.get(status["id"], 0.0) <= SILENT_AFTER for status in self.statuses):
            return False
        return bool(self.gone) or not all(status["final"] for status in self.statuses) or not self.statuses


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
        pipe.set(keys.status(member), _encoded({**snapshot, **head}), ex=ttl)
        pipe.zadd(keys.statuses(), {member: now + ttl - (INDEX_MARGIN if final else 0)})
        pipe.zremrangebyscore(keys.statuses(), "-inf", now - INDEX_MARGIN)
        pipe.expire(keys.statuses(), FINAL_TTL + INDEX_MARGIN)
        pipe.execute()


def _encoded(status: Mapping[str, Any]) -> bytes:
    """Return a snapshot as JSON: of hundreds of feeds, each second."""
    try:
        return orjson.dumps(status)
    except orjson.JSONEncodeError:  # a lone surrogate, in what a server or an exception said
        return json.dumps(status).encode()


def read_statuses(client: redis.Redis, namespace: str) -> list[dict[str, Any]]:
    """Return the snapshots that have not expired, ordered by kind and id; two round trips. Raises `BrokerError`."""
    return [status for status, _ in _read(client, Keys(namespace), _members(client, Keys(namespace)))]


def read_processes(client: redis.Redis, namespace: str) -> Reading:
    """Return the same with the age of each, and who is gone; two round trips, reads only. Raises `BrokerError`."""
    keys, now = Keys(namespace), time.time()
    members = _members(client, keys)
    read = _read(client, keys, members)
    ages = {str(status["id"]): age for status, age in read}
    known = {f"{status['kind']}.{status['id']}" for status, _ in read}
    gone = [
        Gone(*member.partition(".")[::2], expired - RUNNING_TTL)
        for member, expired in members.items()
        if member not in known and now - INDEX_MARGIN <= expired <= now
    ]
    return Reading(now, [status for status, _ in read], ages, gone)


def slowest_lags(statuses: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Return by feed the lag from the wire to the actor (p50, p99, in milliseconds) of the slowest worker that runs."""
    slowest: dict[str, tuple[float, float]] = {}
    for status in statuses:
        feeds = status.get("feeds") if status["kind"] == "worker" and not status["final"] else None
        for feed, numbers in feeds.items() if isinstance(feeds, dict) else ():
            lag = numbers.get("lag_ms") if isinstance(numbers, dict) else None
            if isinstance(lag, dict) and isinstance(lag.get("p50"), (int, float)) and isinstance(lag.get("p99"), (int, float)):
                p50, p99 = slowest.get(feed, (0.0, 0.0))
                slowest[feed] = max(p50, lag["p50"]), max(p99, lag["p99"])
    return slowest


def _members(client: redis.Redis, keys: Keys) -> dict[str, float]:
    """Return the index."""
    with translated():
        members = cast("list[tuple[bytes | str, float]]", client.zrange(keys.statuses(), 0, -1, withscores=True))
    return {member.decode() if isinstance(member, bytes) else member: score for member, score in members}


def _read(client: redis.Redis, keys: Keys, members: Mapping[str, float]) -> list[tuple[dict[str, Any], float]]:
    """Return the snapshots of members and the age of each."""
    if not members:
        return []
    names = [keys.status(member) for member in members]
    with translated(), client.pipeline(transaction=False) as pipe:
        pipe.mget(names)
        for name in names:
            pipe.pttl(name)
        texts, *left = pipe.execute()
    pairs = ((status, ms) for text, ms in zip(texts, left, strict=True) if text is not None and (status := _parse(text)))
    read = [(status, max(0.0, (FINAL_TTL if status["final"] else RUNNING_TTL) - ms / 1000)) for status, ms in pairs]
    return sorted(read, key=lambda each: (str(each[0]["kind"]), str(each[0]["id"])))


def _parse(text: bytes | str) -> dict[str, Any] | None:
    try:
        status = json.loads(text)
    except ValueError:
        return None
    if not isinstance(status, dict) or not {"format", "kind", "id", "at", "final"} <= status.keys():
        return None
    return status if isinstance(status["format"], int) and status["format"] <= FORMAT else None
