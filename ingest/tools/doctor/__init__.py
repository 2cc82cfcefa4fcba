"""``python -m ingest doctor``: looks at everything that is often wrong, and names the remedy.

The rule: collects facts first, judges them after; nothing is changed.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ingest.broker.clients import make_client
from ingest.broker.inspection import Inspection, inspect
from ingest.errors import BrokerError
from ingest.telemetry.facts import safe_text
from ingest.tools.doctor import process_checks as processes
from ingest.tools.doctor.facts import Facts, Finding, Machine, worst_first
from ingest.tools.doctor.plan import queue_names
from ingest.tools.doctor.redis_checks import redis_findings
from ingest.tools.doctor.tls_checks import way_to_redis
from ingest.tools.show import printable
from settings.model import Settings

#: Seconds between the two looks at the queues.
PAUSE = 1.0

_STYLES = {"problem": "bold red", "warning": "yellow", "ok": "green"}


def run_doctor(settings: Settings, *, plan: int | None, grace: float, as_json: bool, out: Console) -> int:
    """Look, print what was found, and return the exit code: 1 where there is a problem."""
    findings = worst_first(judge(collect(settings, plan=plan, grace=grace, pause=PAUSE)))
    if as_json:
        out.print(json.dumps({"worst": findings[0].level, "findings": [asdict(each) for each in findings]}), soft_wrap=True)
    else:
        _show(findings, out)
    return 1 if findings[0].level == "problem" else 0


def collect(settings: Settings, *, plan: int | None, grace: float, pause: float) -> Facts:
    """Return the facts; what Redis has against it is one of them."""
    redis, error = None, ""
    try:
        redis = _inspect(settings, pause)
    except (BrokerError, ValueError) as refused:
        error = safe_text(str(refused))
    return Facts(settings=settings, machine=_machine(), redis=redis, redis_error=error, plan=plan, grace=grace)


def judge(facts: Facts) -> Iterator[Finding]:
    """Yield what there is to say of everything."""
    redis = facts.redis
    if redis is None:
        right = "is REDIS_URL, or [broker] url, right?"
        if "NOPERM" in facts.redis_error:
            right = "let this user of Redis use +@read, +time and +info, or ask with another."
        yield Finding("redis", "problem", facts.redis_error, f"{right} Without Redis its half was not looked at")
    else:
        yield from redis_findings(facts, redis)
        yield from processes.consumers(facts, redis)
        yield from processes.namespace(facts, redis)
    yield from processes.connections(facts, redis)
    yield from way_to_redis(facts)
    yield from processes.shutdown(facts)
    yield from processes.files(facts)


def _inspect(settings: Settings, pause: float) -> Inspection:
    broker = settings.broker
    client = make_client(**broker.endpoint(), max_connections=1)
    with closing(client):
        return inspect(client, broker.namespace, queue_names(settings), pause)


def _machine() -> Machine:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Machine(
        files=None if soft == resource.RLIM_INFINITY else soft,
        procfile=read_procfile(Path("Procfile")),
        worker_processes=os.environ.get("WORKER_PROCESSES", ""),
    )


def read_procfile(path: Path) -> dict[str, str] | None:
    """Return the lines of a Procfile by name, None where there is none; what is no such line is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    parted = (line.partition(":") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {name.strip(): command.strip() for name, colon, command in parted if colon}


def _show(findings: list[Finding], out: Console) -> None:
    table = Table("", "check", "what", "remedy", box=None, pad_edge=False)
    for finding in findings:
        what, remedy = printable(safe_text(finding.what)), printable(safe_text(finding.remedy))
        table.add_row(
            f"{finding.level}", finding.check, what, remedy, style=_STYLES[finding.level] if finding.level != "ok" else None
        )
    out.print(table)
