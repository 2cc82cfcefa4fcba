"""A record as its connections: what a server would do to play each of them, step by step, and a survey of all.

The rule: pure; entries come in once, in order, and nothing is kept of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ingest.records.format import CLOSE, PING, EmittedEntry, EndEntry, Entry, EventEntry, FrameEntry

#: The events by which the beginning and the end of attempts are told from each other.
CONNECTING, UPGRADED, SUBSCRIBED, READY, LOST, FAILED = "connecting", "upgraded", "subscribed", "ready", "lost", "failed"

#: A close frame without a code.
NO_CODE = 1005

#: Reasons of ours for which a server was silent until we left.
_SILENCES = frozenset({"PingTimedOut", "IdleTimedOut", "DataTimedOut", "ReadyTimedOut", "SendTimedOut"})

#: Reasons that are the stream's own end, not a close.
_CUTS = frozenset({"ConnectionDropped", "ProtocolViolated"})


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message or a ping; ``at_us`` counts from the upgrade."""

    at_us: int
    entry: FrameEntry


@dataclass(frozen=True, slots=True)
class Await:
    """The client said something here; ``subscribes`` if it was right after the upgrade, before it read anything."""

    at_us: int
    entry: FrameEntry
    subscribes: bool


@dataclass(frozen=True, slots=True)
class Close:
    """Close with the server's code."""

    at_us: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Cut:
    """End the TCP connection without a close frame; ``silent`` if nothing, not even a pong, came before it."""

    at_us: int
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Linger:
    """Send nothing more: the client ended it, for a reason of its own."""

    at_us: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The record ends while the connection goes on."""

    at_us: int


Step = Send | Await | Close | Cut | Linger | Finish


@dataclass(slots=True)
class Connection:
    """One attempt that a server can play: it was upgraded (``status`` None), or refused with ``status``."""

    status: int | None = None
    retry_after: float | None = None
    subprotocol: str | None = None
    received: int = 0
    sent: int = 0
    emitted: int = 0
    ready: bool = False
    ended_by: str = ""
    began_us: int = 0


@dataclass(slots=True)
class Survey:
    """What a record holds: its attempts that reached a server, its counts of data frames and payloads, and how long it is."""

    connections: list[Connection] = field(default_factory=list)
    attempts: int = 0
    received: int = 0
    sent: int = 0
    emitted: int = 0
    last_us: int = 0


def survey(entries: Iterable[Entry]) -> Survey:
    """Count what there is."""
    found = Survey()
    current: Connection | None = None
    for entry in entries:
        found.last_us = max(found.last_us, entry.at_us)
        match entry:
            case EventEntry(_, "connecting", _):
                found.attempts += 1
                current = None
            case EventEntry(at_us, "upgraded", fields):
                subprotocol = fields.get("subprotocol")
                current = Connection(subprotocol=subprotocol if isinstance(subprotocol, str) else None, began_us=at_us)
                found.connections.append(current)
            case EventEntry(_, "failed", fields) if isinstance(status := fields.get("status"), int) and current is None:
                after = fields.get("retry_after")
                refused = Connection(status=status, retry_after=after if isinstance(after, int | float) else None)
                found.connections.append(refused)
            case EventEntry(_, "ready", _) if current is not None:
                current.ready = True
            case EventEntry(_, "lost" | "failed", fields) if current is not None:
                current.ended_by = str(fields.get("reason", ""))
            case FrameEntry(is_data=True) if current is not None:
                _count(found, current, entry)
            case EmittedEntry(_, payloads) if current is not None:
                current.emitted += len(payloads)
                found.emitted += len(payloads)
            case _:
                pass
    return found


def _count(found: Survey, current: Connection, entry: FrameEntry) -> None:
    if entry.outbound:
        current.sent += 1
        found.sent += 1
    else:
        current.received += 1
        found.received += 1


def steps_of(entries: Iterable[Entry], number: int) -> Iterator[Step]:
    """Yield what a server does to play the connection of this number (from 0, of those in `survey`); it ends with a last step."""
    entries = iter(entries)
    began = _skip_to(entries, number)
    subscribes = True
    at_us = 0
    for entry in entries:
        at_us = max(0, entry.at_us - began)
        match entry:
            case FrameEntry(opcode=opcode, outbound=False) if opcode == CLOSE:
                yield Close(at_us, *close_of(entry.payload))
                return
            case FrameEntry(outbound=False) if entry.is_data or entry.opcode == PING:
                yield Send(at_us, entry)
            case FrameEntry(outbound=True) if entry.is_data:
                yield Await(at_us, entry, subscribes)
            case EventEntry(_, "subscribed", _):
                subscribes = False
            case EventEntry(_, "lost" | "failed", fields):
                yield _last(at_us, str(fields.get("reason", "")))
                return
            case EventEntry(_, "connecting", _) | EndEntry():
                break
            case _:
                pass
    yield Finish(at_us)


def close_of(payload: bytes) -> tuple[int, str]:
    """Return code and reason of a close frame's content."""
    if len(payload) < 2:
        return NO_CODE, ""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")


def _skip_to(entries: Iterator[Entry], number: int) -> int:
    """Take everything up to the upgrade of a connection; return when that was."""
    open_ = False
    for entry in entries:
        match entry:
            case EventEntry(_, "connecting", _):
                open_ = False
            case EventEntry(at_us, "upgraded", _):
                open_ = True
                number -= 1
                if number < 0:
                    return at_us
            case EventEntry(_, "failed", fields) if isinstance(fields.get("status"), int) and not open_:
                number -= 1
            case _:
                pass
    return 0


def _last(at_us: int, reason: str) -> Step:
    if reason in _CUTS or reason in _SILENCES:
        return Cut(at_us, silent=reason in _SILENCES)
    return Finish(at_us) if reason in ("Stopped", "Fenced") else Linger(at_us)
