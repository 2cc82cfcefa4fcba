"""What follows the end of a connection: another attempt after so many seconds, or the stop.

The rule: the only importer of tenacity, and pure: ends go in, decisions come out. One retry budget per
outage, renewed only by a connection that was ready for ``stable_after`` seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from ingest.errors import ClosedByServer, EndReason, HandshakeRejected, SessionFailed

#: Fatal unless ``fatal_statuses`` says otherwise: asking again cannot help.
FATAL_STATUSES: tuple[int | str, ...] = ("3xx", 400, 404, 405, 410, 426)

#: Fatal too where every attempt would show the same credentials.
CREDENTIAL_STATUSES: tuple[int | str, ...] = (401, 403)


@dataclass(frozen=True, slots=True)
class ConnectionEnd:
    """How a connection ended: why, and for how many seconds it had been ready (0 if it never was)."""

    reason: EndReason
    was_ready: bool
    lasted: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a ``retry.function`` is told: ``number`` counts the failures of this outage from 1, the rest is seconds."""

    number: int
    reason: EndReason
    status: int | None
    retry_after: float | None
    previous_delay: float | None
    was_ready: bool
    outage: float


@dataclass(frozen=True, slots=True)
class Outage:
    """The failures since the last stable connection."""

    number: int = 0
    began: float | None = None
    previous_delay: float | None = None
    planned: bool = False  # one announced restart has been followed at once


@dataclass(frozen=True, slots=True)
class Decision:
    """``delay`` seconds until the next attempt, or None to stop; ``outage`` is to be handed back next time."""

    delay: float | None
    outage: Outage
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Policy:
    """The feed's ``retry`` table and what is fatal to it."""

    initial: float
    max: float
    multiplier: float
    jitter: str
    max_attempts: int
    stable_after: float
    fatal_statuses: tuple[int | str, ...]
    fatal_close_codes: tuple[int | str, ...]
    function: Callable[[Attempt], float | None] | None = None


class RetryFunctionFailed(Exception):
    """The ``retry.function`` raised, or returned what is no delay."""


def decide(policy: Policy, end: ConnectionEnd, outage: Outage, now: float, *, default: bool = False) -> Decision:
    """Return what follows ``end``.

    ``RetryFunctionFailed`` where the user's function fails; call again with ``default=True`` to go on without it.
    """
    if end.was_ready and end.lasted >= policy.stable_after:
        outage = Outage()
    began = outage.began if outage.began is not None else now
    if _is_planned(end.reason) and not outage.planned:
        attempt = _attempt(end, outage, outage.number, now - began)
        return Decision(0.0, Outage(outage.number, began, outage.previous_delay, planned=True), attempt)
    number = outage.number + 1
    attempt = _attempt(end, outage, number, now - began)
    delay = _asked(policy.function, attempt) if policy.function is not None and not default else _delay(policy, attempt)
    return Decision(delay, Outage(number, began, delay, outage.planned), attempt)


def is_fatal(policy: Policy, reason: EndReason) -> bool:
    """Tell whether another attempt is pointless."""
    if isinstance(reason, SessionFailed):
        return reason.fatal
    if isinstance(reason, HandshakeRejected):
        return matches(reason.status, policy.fatal_statuses)
    if isinstance(reason, ClosedByServer):
        return matches(reason.code, policy.fatal_close_codes)
    return False


def matches(number: int, patterns: tuple[int | str, ...]) -> bool:
    """Tell whether a status or close code is among numbers and classes such as ``"4xx"`` or ``"4xxx"``."""
    text = str(number)
    return any(
        number == pattern if isinstance(pattern, int) else len(pattern) == len(text) and text.startswith(pattern.rstrip("x"))
        for pattern in patterns
    )


def _is_planned(reason: EndReason) -> bool:
    return isinstance(reason, SessionFailed) and not reason.fatal and reason.after == 0


def _attempt(end: ConnectionEnd, outage: Outage, number: int, elapsed: float) -> Attempt:
    status = end.reason.status if isinstance(end.reason, HandshakeRejected) else None
    return Attempt(number, end.reason, status, end.reason.retry_after, outage.previous_delay, end.was_ready, elapsed)


def _asked(function: Callable[[Attempt], float | None], attempt: Attempt) -> float | None:
    try:
        delay = function(attempt)
    except Exception as error:
        raise RetryFunctionFailed(f"retry.function raised {type(error).__name__}: {error}") from error
    if delay is None:
        return None
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not math.isfinite(delay) or delay < 0:
        raise RetryFunctionFailed(f"retry.function returned {delay!r}; seconds (0 or more) or None are expected")
    return float(delay)


def _delay(policy: Policy, attempt: Attempt) -> float | None:
    state = _tenacity_state(attempt.number)
    if is_fatal(policy, attempt.reason) or (policy.max_attempts and tenacity.stop_after_attempt(policy.max_attempts + 1)(state)):
        return None
    wait = tenacity.wait_random_exponential if policy.jitter == "full" else tenacity.wait_exponential
    backoff = float(wait(multiplier=policy.initial, max=policy.max, exp_base=policy.multiplier)(state))
    if attempt.retry_after is None:
        return backoff
    # A session names the moment it wants; a server names the earliest one that it allows.
    return (
        attempt.retry_after
        if isinstance(attempt.reason, SessionFailed) and attempt.retry_after > 0
        else max(backoff, attempt.retry_after)
    )


def _tenacity_state(number: int) -> tenacity.RetryCallState:
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = number
    return state
