"""The states of a feed and every way from one to another: one table, of which a missing row is a fault.

The rule: the table checks and reports; it never decides. The diagram in the docs is made from it.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a feed is; the names are what status, logs and metrics show."""

    IDLE = "IDLE"
    CONNECTING = "CONNECTING"
    BOOTSTRAPPING = "BOOTSTRAPPING"
    READY = "READY"
    BACKING_OFF = "BACKING_OFF"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"
    FAILED = "FAILED"


class Trigger(StrEnum):
    """What moves a feed."""

    DIAL = "dial"  # an attempt begins
    UPGRADED = "upgraded"  # the server answered 101
    READIED = "readied"  # bootstrap sent, and confirmed where awaited
    ENDED = "ended"  # the connection, or the attempt, is over; another follows
    GAVE_UP = "gave up"  # the same, and no other follows
    STOP = "stop"  # we were asked to
    FENCED = "fenced"  # another process leads the feed now; stand by
    PAUSE = "pause"  # an operator wants no connection for the time being
    RESUME = "resume"  # and then one again
    CRASHED = "crashed"  # a fault in our own loop; the feed begins anew


TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.IDLE, Trigger.DIAL): State.CONNECTING,
    (State.BACKING_OFF, Trigger.DIAL): State.CONNECTING,
    (State.CONNECTING, Trigger.UPGRADED): State.BOOTSTRAPPING,
    (State.BOOTSTRAPPING, Trigger.READIED): State.READY,
    (State.CONNECTING, Trigger.ENDED): State.BACKING_OFF,
    (State.BOOTSTRAPPING, Trigger.ENDED): State.BACKING_OFF,
    (State.READY, Trigger.ENDED): State.BACKING_OFF,
    (State.CONNECTING, Trigger.GAVE_UP): State.FAILED,
    (State.BOOTSTRAPPING, Trigger.GAVE_UP): State.FAILED,
    (State.READY, Trigger.GAVE_UP): State.FAILED,
    (State.IDLE, Trigger.STOP): State.STOPPED,
    (State.CONNECTING, Trigger.STOP): State.STOPPED,
    (State.BOOTSTRAPPING, Trigger.STOP): State.STOPPED,
    (State.READY, Trigger.STOP): State.STOPPED,
    (State.BACKING_OFF, Trigger.STOP): State.STOPPED,
    (State.PAUSED, Trigger.STOP): State.STOPPED,
    (State.IDLE, Trigger.PAUSE): State.PAUSED,
    (State.CONNECTING, Trigger.PAUSE): State.PAUSED,
    (State.BOOTSTRAPPING, Trigger.PAUSE): State.PAUSED,
    (State.READY, Trigger.PAUSE): State.PAUSED,
    (State.BACKING_OFF, Trigger.PAUSE): State.PAUSED,
    (State.PAUSED, Trigger.RESUME): State.IDLE,
    (State.IDLE, Trigger.FENCED): State.IDLE,
    (State.CONNECTING, Trigger.FENCED): State.IDLE,
    (State.BOOTSTRAPPING, Trigger.FENCED): State.IDLE,
    (State.READY, Trigger.FENCED): State.IDLE,
    (State.BACKING_OFF, Trigger.FENCED): State.IDLE,
    (State.PAUSED, Trigger.FENCED): State.IDLE,
    (State.IDLE, Trigger.CRASHED): State.IDLE,
    (State.CONNECTING, Trigger.CRASHED): State.IDLE,
    (State.BOOTSTRAPPING, Trigger.CRASHED): State.IDLE,
    (State.READY, Trigger.CRASHED): State.IDLE,
    (State.BACKING_OFF, Trigger.CRASHED): State.IDLE,
    (State.PAUSED, Trigger.CRASHED): State.IDLE,
    (State.IDLE, Trigger.GAVE_UP): State.FAILED,
}

#: A feed in one of these does nothing more.
FINAL = frozenset({State.STOPPED, State.FAILED})


class UnknownTransition(Exception):
    """The table has no such row: a fault of this program."""


def after(state: State, trigger: Trigger) -> State:
    """Return the state that follows; `UnknownTransition` where the table has no row."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise UnknownTransition(f"{state} has no way out by {trigger!r}") from None


def diagram() -> str:
    """Return the table as a Mermaid state diagram, for the docs."""
    merged: dict[tuple[State, State], list[str]] = {}
    for (old, trigger), new in TRANSITIONS.items():
        merged.setdefault((old, new), []).append(trigger.value)
    rows = [f"    {old} --> {new}: {', '.join(triggers)}" for (old, new), triggers in merged.items()]
    ends = [f"    {state} --> [*]" for state in State if state in FINAL]
    return "\n".join(["stateDiagram-v2", "    [*] --> IDLE", *rows, *ends])
