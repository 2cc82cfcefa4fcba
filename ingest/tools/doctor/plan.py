"""How many connections to Redis, and open files, the processes take at most: arithmetic over the settings.

The rule: pure, and the docs' formula word for word (docs/doctor.md); a test holds it against running processes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from settings.model import Settings

#: Connections of a supervisor beside those that its publishers share: leases; status, orders and history; gap records; and the
#: broker's own, from the check at the start.
SUPERVISOR_OWN = 4

#: Connections of a command like this one.
COMMAND = 1

#: What the Procfile's line starts where nothing says otherwise, and what `dramatiq` does without ``--processes``.
PROCESSES = 2

#: Open files of a supervisor that has no feed: the interpreter, its libraries, the log, a listener.
FILES_OWN = 25

#: Open files of a feed: its socket and the two ends of its wake-up; while it connects also what the resolver opens.
FILES_FEED = 5

#: Open files of a spool: the database, its log, its index, its lock, and the ballast.
FILES_SPOOL = 5

_PROCESSES_OPTION = re.compile(r"(?:--processes|-p)[ =](\S+)")
_VARIABLE = re.compile(r"\$\{?(\w+)(?::-(\d+))?\}?")


@dataclass(frozen=True, slots=True)
class Plan:
    """The connections at most, by what takes them."""

    supervisors: int
    a_supervisor: int
    workers: int
    a_worker: int

    @property
    def total(self) -> int:
        return self.supervisors * self.a_supervisor + self.workers * self.a_worker + COMMAND

    def __str__(self) -> str:
        supervisors = f"{self.supervisors} supervisor{'s' * (self.supervisors != 1)} of {self.a_supervisor}"
        workers = f"{self.workers} worker process{'es' * (self.workers != 1)} of {self.a_worker}"
        return f"{supervisors} + {workers} + {COMMAND} command = {self.total}"


def connection_plan(settings: Settings, supervisors: int, workers: int) -> Plan:
    """Return how many connections so many processes take at most."""
    most, queues = settings.broker.max_connections, len(queue_names(settings))
    return Plan(
        supervisors,
        min(len(settings.feeds), most) + SUPERVISOR_OWN,
        workers,
        most + (queues if settings.workers.wake else 0),
    )


def files_needed(settings: Settings) -> int:
    """Return how many files a supervisor of all these feeds has open at most."""
    spools = sum(feed.spool is not None for feed in settings.feeds.values())
    connections = connection_plan(settings, 1, 0).a_supervisor
    return FILES_OWN + FILES_FEED * len(settings.feeds) + FILES_SPOOL * spools + connections


def queue_names(settings: Settings) -> list[str]:
    """Return every queue that a feed fills or a table describes."""
    return sorted({feed.queue for feed in settings.feeds.values()} | set(settings.queues))


def worker_line(procfile: Mapping[str, str] | None) -> str | None:
    """Return the line that starts Dramatiq's workers, if there is one."""
    return next((line for line in (procfile or {}).values() if re.search(r"\bdramatiq\b(?!-)", line)), None)


def processes_of(line: str | None, environ: Mapping[str, str]) -> int:
    """Return how many worker processes a line starts."""
    option = _PROCESSES_OPTION.search(line or "")
    if option is None:
        return PROCESSES
    value = expanded(option[1], environ)
    return int(value) if value.isdigit() else PROCESSES


def expanded(value: str, environ: Mapping[str, str]) -> str:
    """Return a word of a Procfile with its variables, as a shell would have it."""
    return _VARIABLE.sub(lambda match: environ.get(match[1]) or match[2] or "", value)
