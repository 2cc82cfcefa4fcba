"""What is judged of our processes: connections, queues without workers, namespace, shutdown time, open files.

The rule: pure; each check yields at least one finding, also where all is well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ingest.broker.inspection import Inspection
from ingest.telemetry.facts import safe_text
from ingest.tools.doctor.facts import Facts, Finding
from ingest.tools.doctor.plan import connection_plan, expanded, files_needed, processes_of, worker_line

#: Connections of a small Redis plan.
SMALL_PLAN = 20

#: What share of all connections may be open without being worth a word.
CROWDED = 0.8

#: Seconds that a supervisor takes at most after shutdown_timeout: the last status, telemetry, the interpreter's end.
FAREWELL = 5.0

#: Seconds that a worker process needs after its threads have ended.
WORKER_FAREWELL = 2.0

#: Dramatiq's own, in seconds.
WORKER_TIMEOUT = 600.0

_WORKER_TIMEOUT_OPTION = re.compile(r"--worker-shutdown-timeout[ =](\S+)")


def connections(facts: Facts, redis: Inspection | None) -> Iterator[Finding]:
    """Judge how many connections all processes may open, and how many are open."""
    settings = facts.settings
    supervisors = max(1, redis.supervisors if redis is not None else 0)
    started = processes_of(worker_line(facts.machine.procfile), {"WORKER_PROCESSES": facts.machine.worker_processes})
    running = redis.worker_processes if redis is not None else 0
    plan = connection_plan(settings, supervisors, running or started)
    allowed = redis.server.maxclients if redis is not None else None
    limit = facts.plan or allowed or SMALL_PLAN
    of_whom = "your plan takes" if facts.plan else "Redis takes" if allowed else "small plans take"
    what = f"at most {plan}, and {of_whom} {limit}"
    if plan.total > limit:
        yield Finding(
            "connections",
            "problem",
            what,
            "lower [broker] max_connections, start fewer processes with more threads, or set [workers] wake = false",
        )
    else:
        small = f"; a small plan takes {SMALL_PLAN}" if limit > SMALL_PLAN >= plan.total else ""
        tight = f"; a small plan's {SMALL_PLAN} would not do" if limit > SMALL_PLAN < plan.total else ""
        yield Finding("connections", "ok", f"{what}{small}{tight}")
    if redis is not None and redis.server.connected > limit * CROWDED:
        shares = sorted((redis.connections or {}).items(), key=lambda item: -item[1])[:3]
        who = f" (most: {', '.join(f'{count} from {safe_text(address)}' for address, count in shares)})" if shares else ""
        yield Finding(
            "connections", "warning", f"{redis.server.connected} of {limit} are open now{who}", "look who else connects there"
        )


def consumers(facts: Facts, redis: Inspection) -> Iterator[Finding]:
    """Judge whether somebody takes what is in the queues."""
    stuck = {}
    for name, depths in redis.depths.items():
        first, second = depths.first, depths.second
        if second.head is not None and second.head == first.head and second.ready >= first.ready:
            stuck[name] = second.ready
    if not stuck:
        yield Finding("consumers", "ok", "every queue is empty, or something is taken from it")
    for name, depth in stuck.items():
        seconds = redis.depths[name].seconds
        if redis.workers == 0 and redis.worker_processes == 0:
            yield Finding(
                "consumers",
                "problem",
                f"{depth} messages wait in queue {name}, and no worker has shown a sign of life for a minute",
                "start the workers: dramatiq workers",
            )
        else:
            yield Finding(
                "consumers",
                "warning",
                f"of {depth} messages in queue {name} none was taken in {seconds:.1f} s, though there are workers",
                f"do they have an actor on queue {name}? (python -m ingest check, with [workers] actors) Or they are all busy",
            )


def namespace(facts: Facts, redis: Inspection) -> Iterator[Finding]:
    """Judge whether workers listen where supervisors write."""
    ours = facts.settings.broker.namespace
    others = ", ".join(f"{safe_text(name)} ({count})" for name, count in sorted(redis.elsewhere.items())[:5])
    unsure = "" if redis.walked_all else " (not all keys were looked through)"
    here = redis.workers or redis.worker_processes
    if others and not here:
        yield Finding(
            "namespace",
            "problem",
            f"there are workers in the namespaces {others}, and none in {ours}{unsure}",
            "give [broker] namespace and the workers' broker the same name",
        )
    else:
        also = f"; others on this Redis: {others}" if others else ""
        yield Finding("namespace", "ok", f"{ours}{also}{unsure}")


def shutdown(facts: Facts) -> Iterator[Finding]:
    """Judge whether supervisors and workers can end in order before the platform kills them."""
    needed = facts.settings.supervisor.shutdown_timeout + FAREWELL
    if needed > facts.grace:
        yield Finding(
            "shutdown",
            "problem",
            f"a supervisor may take {needed:g} s to end, and is killed after {facts.grace:g} s: what is in memory is lost",
            f"set [supervisor] shutdown_timeout to {max(1.0, facts.grace - FAREWELL):g} or less, or let the platform wait longer",
        )
    else:
        yield Finding("shutdown", "ok", f"a supervisor ends within {needed:g} s, of {facts.grace:g} s that it has")
    line = worker_line(facts.machine.procfile)
    if line is None:
        yield Finding("shutdown", "ok", "no Procfile here that starts workers: theirs is not looked at")
        return
    option = _WORKER_TIMEOUT_OPTION.search(line)
    value = expanded(option[1], os.environ) if option is not None else ""
    timeout = float(value) / 1000 if value.isdigit() else WORKER_TIMEOUT
    wanted = round(1000 * max(1.0, facts.grace - 5.0))
    if timeout + WORKER_FAREWELL > facts.grace:
        yield Finding(
            "shutdown",
            "problem",
            f"workers may take {timeout:g} s to end, and are killed after {facts.grace:g} s: what they work at is done again",
            f"start them with --worker-shutdown-timeout {wanted}",
        )
    else:
        yield Finding("shutdown", "ok", f"workers end within {timeout:g} s")


def files(facts: Facts) -> Iterator[Finding]:
    """Judge the limit of open files against a supervisor of all feeds."""
    needed, limit = files_needed(facts.settings), facts.machine.files
    if limit is None:
        yield Finding("files", "ok", f"a supervisor opens at most {needed} files; no limit is known here")
    elif needed > limit:
        yield Finding(
            "files",
            "problem",
            f"a supervisor of all feeds opens up to {needed} files, and may open {limit} here",
            f"raise the limit (ulimit -n {max(1024, 2 * needed)}), or divide the feeds among processes with --only",
        )
    else:
        yield Finding("files", "ok", f"a supervisor opens at most {needed} files, of {limit}")
