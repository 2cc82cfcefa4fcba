"""Whether the supervisor is well: ``/live`` (its loops turn) and ``/ready`` (every feed does what it should, Redis takes writes).

The rule: looks and judges, and touches nothing; every "no" comes with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingest.measures import Pulse
from ingest.service.keeper import Keeper
from ingest.service.reporter import Reporter
from ingest.service.runner import FeedRunner
from ingest.telemetry.summary import FeedNumbers

#: Seconds without a turn after which a loop counts as stuck. The keeper's and the reporter's wait for Redis, within time-outs.
MAIN_SILENT = 10.0
KEEPER_SILENT = 30.0
REPORTER_SILENT = 30.0

#: States in which a feed does what it should. One that is blocked waits for slower workers, and will go on by itself.
_WELL = {"READY": None, "BLOCKED": "the backlog is full: reading waits for room", "STANDBY": "another supervisor leads the feed"}

#: What a state means to who asks why a feed is not ready.
_MEANING = {
    "IDLE": "not started yet, or not leading yet",
    "CONNECTING": "connecting",
    "BOOTSTRAPPING": "connected, not confirmed yet",
    "BACKING_OFF": "waiting to connect again",
    "SLOW_CALLBACK": "code of yours does not return",
    "STANDBY": "nobody leads it: Redis has not given the lease, or a feed of the same name elsewhere has it",
    "FAILED": "gave up: it is not tried again",
    "STOPPED": "stopped",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all is well, and what was looked at."""

    ok: bool
    details: dict[str, Any]

    def encode(self) -> bytes:
        """Return it as a line of JSON."""
        return json.dumps({"ok": self.ok, **self.details}).encode() + b"\n"


@dataclass(slots=True)
class Health:
    """What is asked for one supervisor.

    Attributes:
      main: the main loop's pulse; ``stopping``: an orderly stop has begun.
    """

    runners: Sequence[FeedRunner]
    keeper: Keeper
    reporter: Reporter
    main: Pulse = field(default_factory=Pulse)
    stopping: bool = False

    def live(self) -> Verdict:
        """Tell whether the loops turn; where one does not, nothing but a restart will help."""
        silent = {
            "main": _silence(self.main, MAIN_SILENT),
            "lease": _silence(self.keeper.pulse, KEEPER_SILENT),
            "report": _silence(self.reporter.pulse, REPORTER_SILENT),
            **{f"feeds.{runner.settings.name}": runner.silence() for runner in self.runners},
        }
        stuck = {name: reason for name, reason in silent.items() if reason is not None}
        return Verdict(not stuck, {"loops": {name: reason or "turns" for name, reason in silent.items()}})

    def ready(self) -> Verdict:
        """Tell whether every feed is ready, or rightly stands by or is paused, and Redis answers and takes writes."""
        feeds = {runner.settings.name: _readiness(runner.numbers()) for runner in self.runners}
        trouble = self.reporter.trouble()
        details: dict[str, Any] = {"redis": {"ok": False, "reason": trouble} if trouble else {"ok": True}, "feeds": feeds}
        if self.stopping:
            details["reason"] = "the supervisor is stopping"
        return Verdict(not self.stopping and not trouble and all(each["ok"] for each in feeds.values()), details)


def _silence(pulse: Pulse, allowed: float) -> str | None:
    return f"has not turned for {pulse.silent_for:.0f} s" if pulse.silent_for > allowed else None


def _readiness(numbers: FeedNumbers) -> dict[str, Any]:
    paused = numbers.paused or numbers.state == "PAUSED"
    ok = paused or (numbers.state in _WELL and (numbers.state != "STANDBY" or numbers.lease == "stands_by"))
    if paused:
        reason: str | None = "paused by an operator"
    elif ok:
        reason = _WELL[numbers.state]
    else:
        reason = _MEANING.get(numbers.state, numbers.state)
        if numbers.last_reason is not None:
            reason = f"{reason}; last: {numbers.last_reason}"
    shown = {"ok": ok, "state": numbers.state, "since": numbers.since, "lease": numbers.lease}
    return shown if reason is None else {**shown, "reason": reason}


#: What a route returns: status, content type, text.
Answer = tuple[int, str, bytes]


def routes(health: Health, metrics: Callable[[str], tuple[str, bytes]]) -> dict[str, Callable[[str], Answer]]:
    """Return what is answered under which path; each takes the request's Accept header."""

    def verdict(judge: Callable[[], Verdict]) -> Answer:
        judged = judge()
        return 200 if judged.ok else 503, "application/json", judged.encode()

    return {
        "/live": lambda accept: verdict(health.live),
        "/ready": lambda accept: verdict(health.ready),
        "/metrics": lambda accept: (200, *metrics(accept)),
    }
