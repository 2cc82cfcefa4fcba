"""What Redis and those who are connected to it say of themselves, for a diagnosis.

The rule: reads only, and what a server does not let us ask is None; nobody's keys are walked beyond `MOST_ROUNDS` steps.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import redis

from ingest.broker.clients import translated
from ingest.broker.keys import Keys
from ingest.broker.queues import QueueDepth, queue_depths
from ingest.broker.status import FINAL_TTL, RUNNING_TTL, read_statuses

T = TypeVar("T")

#: Seconds without a sign of life after which Dramatiq takes a worker for dead.
ALIVE = 60.0

#: Steps of a walk through the key space, of about a thousand keys each.
MOST_ROUNDS = 200

#: The end of the name of Dramatiq's own set of workers, after the namespace.
_HEARTBEATS = ":__heartbeats__"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """The server. ``saves`` are Redis's own rules for snapshots, "" if there are none; sizes are bytes, 0 is no limit."""

    name: str
    version: str
    equals: tuple[int, ...]
    role: str = "master"
    cluster: bool = False
    maxmemory: int = 0
    used_memory: int = 0
    policy: str = "noeviction"
    aof: bool = False
    aof_ok: bool = True
    rdb_ok: bool = True
    saves: str | None = None
    maxclients: int | None = None
    connected: int = 0


@dataclass(frozen=True, slots=True)
class Depths:
    """One queue at two moments, ``seconds`` apart."""

    first: QueueDepth
    second: QueueDepth
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All of it.

    Attributes:
      connections: how many each address has open; None where CLIENT LIST is forbidden.
      ahead, within: how many seconds Redis's clock is ahead of this machine's, and how exact that is.
      clocks: by process (``supervisor web.1:7``), the seconds by which its clock is ahead of Redis's.
      workers: workers that Dramatiq's heartbeats tell of, in this namespace, and in others.
      processes: how many supervisors and workers of ours run.
    """

    server: ServerFacts
    connections: Mapping[str, int] | None = None
    ahead: float = 0.0
    within: float = 0.0
    clocks: Mapping[str, float] = field(default_factory=dict)
    depths: Mapping[str, Depths] = field(default_factory=dict)
    workers: int = 0
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    walked_all: bool = True
    supervisors: int = 0
    worker_processes: int = 0


def inspect(
    client: redis.Redis, namespace: str, queues: Sequence[str], pause: float, sleep: Callable[[float], object] = time.sleep
) -> Inspection:
    """Ask everything; looks at the queues twice, ``pause`` seconds apart. Raises `ingest.errors.BrokerError`."""
    first, looked = queue_depths(client, namespace, queues), time.monotonic()
    server = _server(client)
    ahead, within = _clock(client)
    statuses = [status for status in read_statuses(client, namespace) if not status["final"]]
    clocks = _clocks(client, namespace, statuses)
    now_ms = (time.time() + ahead) * 1000
    elsewhere, walked_all = _elsewhere(client, namespace, now_ms)
    connections = _connections(client)
    workers = _alive(client, Keys(namespace).heartbeats(), now_ms)
    sleep(max(0.0, pause - (time.monotonic() - looked)))
    second, seconds = queue_depths(client, namespace, queues), time.monotonic() - looked
    kinds = [status["kind"] for status in statuses]
    return Inspection(
        server=server,
        connections=connections,
        ahead=ahead,
        within=within,
        clocks=clocks,
        depths={queue: Depths(first[queue], second[queue], seconds) for queue in queues},
        workers=workers,
        elsewhere=elsewhere,
        walked_all=walked_all,
        supervisors=kinds.count("supervisor"),
        worker_processes=kinds.count("worker"),
    )


def _server(client: redis.Redis) -> ServerFacts:
    with translated():
        info = client.info()
    version = str(info.get("redis_version", "0"))
    saves = _allowed(lambda: cast("dict[str, str]", client.config_get("save")).get("save"))
    maxclients = info.get("maxclients") or _allowed(lambda: cast("dict[str, str]", client.config_get("maxclients"))["maxclients"])
    return ServerFacts(
        name="Valkey" if "valkey_version" in info else "Redis",
        version=str(info.get("valkey_version", version)),
        equals=tuple(int(part) for part in version.split(".")[:2] if part.isdigit()),
        role=str(info.get("role", "master")),
        cluster=info.get("cluster_enabled") == 1,
        maxmemory=int(info.get("maxmemory", 0)),
        used_memory=int(info.get("used_memory", 0)),
        policy=str(info.get("maxmemory_policy", "noeviction")),
        aof=info.get("aof_enabled") == 1,
        aof_ok=info.get("aof_last_write_status", "ok") == "ok",
        rdb_ok=info.get("rdb_last_bgsave_status", "ok") == "ok",
        saves=saves,
        maxclients=int(maxclients) if maxclients else None,
        connected=int(info.get("connected_clients", 0)),
    )


def _clock(client: redis.Redis) -> tuple[float, float]:
    """Return the seconds by which Redis's clock is ahead of ours, and how exact that is: the best of three round trips."""
    tries = []
    for _ in range(3):
        before = time.time()
        with translated():
            seconds, micro = client.time()
        after = time.time()
        tries.append(((after - before) / 2, seconds + micro / 1e6 - (before + after) / 2))
    within, ahead = min(tries)
    return ahead, within


def _clocks(client: redis.Redis, namespace: str, statuses: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return by how much each process's clock is ahead of Redis's.

    A snapshot says when it was written by its writer's clock; Redis knows when it expires, and so when that was by its own.
    """
    keys = Keys(namespace)
    with translated(), client.pipeline(transaction=True) as pipe:
        pipe.time()
        for status in statuses:
            pipe.pttl(keys.status(f"{status['kind']}.{status['id']}"))
            pipe.get(keys.status(f"{status['kind']}.{status['id']}"))
        (seconds, micro), *answers = pipe.execute()
    now = seconds + micro / 1e6
    ahead = {}
    for status, left_ms, text in zip(statuses, answers[::2], answers[1::2], strict=True):
        at = _written_at(text)  # as it is now: it may have been written again since `statuses` were read
        if left_ms > 0 and at is not None:
            lifetime = FINAL_TTL if status["final"] else RUNNING_TTL
            written = now - (lifetime - left_ms / 1000)
            ahead[f"{status['kind']} {':'.join(str(status['id']).split(':')[:2])}"] = round(at - written, 2)
    return ahead


def _written_at(text: bytes | str | None) -> float | None:
    """Return when a snapshot says that it was written; None where it says nothing, or is gone."""
    try:
        snapshot = json.loads(text or b"")
    except ValueError:
        return None
    at = snapshot.get("at") if isinstance(snapshot, dict) else None
    return float(at) if isinstance(at, int | float) else None


def _alive(client: redis.Redis, key: str, now_ms: float) -> int:
    with translated():
        return int(client.zcount(key, now_ms - ALIVE * 1000, "+inf"))


def _elsewhere(client: redis.Redis, namespace: str, now_ms: float) -> tuple[dict[str, int], bool]:
    """Return the workers of other namespaces, and whether the whole key space was looked through."""
    found: dict[str, int] = {}
    cursor, rounds = 0, 0
    while True:
        with translated():
            cursor, names = cast("tuple[int, list[bytes]]", client.scan(cursor, match=f"*{_HEARTBEATS}", count=1000))
        for name in names:
            other = name.decode(errors="replace").removesuffix(_HEARTBEATS)
            with suppress(redis.ResponseError):  # somebody else's key of that name
                if other != namespace and (alive := int(client.zcount(name, now_ms - ALIVE * 1000, "+inf"))):
                    found[other] = alive
        rounds += 1
        if cursor == 0 or rounds >= MOST_ROUNDS:
            return found, cursor == 0


def _connections(client: redis.Redis) -> dict[str, int] | None:
    """Return how many connections each address has."""
    listed = _allowed(client.client_list)
    if listed is None:
        return None
    counts: dict[str, int] = {}
    for each in listed:
        address = each.get("addr", "").rpartition(":")[0] or "a socket"
        counts[address] = counts.get(address, 0) + 1
    return counts


def _allowed(ask: Callable[[], T]) -> T | None:
    """Return an answer, or None where the server does not give it to us."""
    with translated():
        try:
            return ask()
        except (redis.ResponseError, KeyError):
            return None
