"""What is judged of Redis itself: version, role, memory, persistence, clock.

The rule: pure; each check yields at least one finding, also where all is well.
"""

from __future__ import annotations

from collections.abc import Iterator

from ingest.broker.clients import OLDEST_VERSION
from ingest.broker.inspection import Inspection
from ingest.broker.queues import queue_bytes
from ingest.tools.doctor.facts import Facts, Finding, Level
from ingest.tools.doctor.plan import queue_names

#: Seconds by which clocks may differ without being worth a word, and with which times are of no use any more.
SKEW, GROSS_SKEW = 2.0, 60.0

#: What share of the memory that is left full queues may take.
TIGHT = 0.8


def redis_findings(facts: Facts, redis: Inspection) -> Iterator[Finding]:
    """Judge the server."""
    yield from version(redis)
    yield from eviction(redis)
    yield from persistence(redis)
    yield from memory(facts, redis)
    yield from clocks(redis)


def version(redis: Inspection) -> Iterator[Finding]:
    """Judge version and role."""
    server = redis.server
    name, oldest = f"{server.name} {server.version}", ".".join(map(str, OLDEST_VERSION))
    if server.equals < OLDEST_VERSION:
        yield Finding("version", "problem", f"{name} is too old", f"{oldest} or newer is needed")
    elif server.cluster:
        yield Finding("version", "problem", f"{name} is a cluster, whose nodes share no scripts", "use a server of its own")
    elif server.role != "master":
        yield Finding("version", "problem", f"{name} is a replica: nothing can be written", "let the URL name the master")
    else:
        yield Finding("version", "ok", name)


def eviction(redis: Inspection) -> Iterator[Finding]:
    """Judge the eviction policy."""
    server = redis.server
    if server.policy == "noeviction":
        yield Finding("eviction", "ok", "noeviction: nothing that waits is thrown away")
    else:
        level: Level = "problem" if server.maxmemory else "warning"
        when = "when memory is full" if server.maxmemory else "as soon as maxmemory is set"
        yield Finding(
            "eviction",
            level,
            f"maxmemory-policy is {server.policy}: Redis throws messages away {when}",
            "CONFIG SET maxmemory-policy noeviction (on Heroku: heroku redis:maxmemory --policy noeviction)",
        )


def persistence(redis: Inspection) -> Iterator[Finding]:
    """Judge what outlives a restart of Redis."""
    server = redis.server
    if not server.aof_ok or not server.rdb_ok:
        what = "its append-only file" if not server.aof_ok else "a snapshot"
        yield Finding(
            "persistence",
            "problem",
            f"Redis could not write {what}, and may refuse writes for it",
            "look at Redis's disk and log",
        )
    if server.aof:
        yield Finding("persistence", "ok", "an append-only file: at most the last second is lost")
    elif server.saves is None:
        yield Finding(
            "persistence",
            "warning",
            "no append-only file, and Redis does not say whether it saves snapshots",
            "ask the provider what outlives a restart; what Redis forgets is recorded as a gap, not restored",
        )
    else:
        kept = (
            f"snapshots alone ({server.saves}): a restart loses what came after the last" if server.saves else "nothing is kept"
        )
        yield Finding(
            "persistence",
            "warning",
            f"{kept}; what waits in queues is lost with it",
            "CONFIG SET appendonly yes, if that matters",
        )


def memory(facts: Facts, redis: Inspection) -> Iterator[Finding]:
    """Judge whether all queues may fill up to their high watermarks."""
    server, settings = redis.server, facts.settings
    missing = 0
    for name in queue_names(settings):
        ready = redis.depths[name].second.ready if name in redis.depths else 0
        missing += queue_bytes(max(0, settings.queue(name).high_watermark - ready))
    need = f"full queues would take {_mebibytes(missing)} more (with frames of 1 KiB)"
    if not server.maxmemory:
        yield Finding("memory", "ok", f"no maxmemory; {_mebibytes(server.used_memory)} used, {need}")
        return
    left = max(0, server.maxmemory - server.used_memory)
    what = f"{need}, of {_mebibytes(left)} that are left of {_mebibytes(server.maxmemory)}"
    if missing > left:
        yield Finding(
            "memory", "problem", f"{what}: Redis refuses before the queues are full", "lower high_watermark, or get more memory"
        )
    elif missing > left * TIGHT:
        yield Finding("memory", "warning", what, "lower high_watermark, or get more memory")
    else:
        yield Finding("memory", "ok", what)


def clocks(redis: Inspection) -> Iterator[Finding]:
    """Judge the clocks of this machine and of every process against Redis's."""
    skews = {"this machine": -redis.ahead, **redis.clocks}
    off = {name: seconds for name, seconds in skews.items() if abs(seconds) - redis.within > SKEW}
    if not off:
        among = f" and {len(redis.clocks)} processes" if redis.clocks else ""
        yield Finding("clocks", "ok", f"this machine{among} agree with Redis within {SKEW:g} s")
    for name, seconds in off.items():
        side = "ahead of" if seconds > 0 else "behind"
        yield Finding(
            "clocks",
            "problem" if abs(seconds) > GROSS_SKEW else "warning",
            f"the clock of {name} is {abs(seconds):.1f} s {side} Redis's: lag, ages and gaps are wrong by that",
            "let the machine's clock be set by NTP",
        )


def _mebibytes(count: int) -> str:
    return f"{count / 1024 / 1024:.0f} MiB"
