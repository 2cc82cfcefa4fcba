"""What the doctor knows before it judges, and what it says after.

The rule: values only; whoever judges asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ingest.broker.inspection import Inspection
from settings.model import Settings

Level = Literal["ok", "warning", "problem"]

_ORDER: dict[Level, int] = {"problem": 0, "warning": 1, "ok": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``what`` is so, and where it is not well, the ``remedy``."""

    check: str
    level: Level
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This machine and this folder.

    Attributes:
      files: how many files a process may have open; None where nobody says.
      procfile: the Procfile's lines; None where there is none.
      worker_processes: ``WORKER_PROCESSES`` of the environment.
    """

    files: int | None = None
    procfile: dict[str, str] | None = None
    worker_processes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything.

    Attributes:
      redis: None where it does not answer; ``redis_error`` says why.
      plan: connections that the Redis plan takes, as the operator says.
      grace: seconds between the platform's SIGTERM and its SIGKILL.
    """

    settings: Settings
    machine: Machine = field(default_factory=Machine)
    redis: Inspection | None = None
    redis_error: str = ""
    plan: int | None = None
    grace: float = 30.0


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, problems before warnings before the rest."""
    return sorted(findings, key=lambda finding: _ORDER[finding.level])
