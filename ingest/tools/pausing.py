"""What ``pause`` and ``resume`` do: give the order, and tell whether the supervisors that run the feed obey.

The rule: the order stands in Redis before anything is said; that nobody obeys yet is told, and is no failure.
"""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import redis

from ingest.broker.control import Control, Paused
from ingest.broker.keys import Keys
from ingest.broker.status import read_statuses
from ingest.clock import Deadline

#: Seconds in which supervisors obey, with some to spare: they look every second, and take one to close.
OBEYING = 5.0

_POLL = 0.1

#: What a supervisor's status shows of a feed that is paused, and of one that can be paused no more.
_PAUSED, _FINAL = "PAUSED", ("STOPPED", "FAILED")


def pause(client: redis.Redis, namespace: str, group: str, feeds: Sequence[str]) -> Iterator[str]:
    """Pause feeds; yield what to tell of each. Raises `ingest.errors.BrokerError`."""
    control = Control(client, Keys(namespace), group)
    known = control.paused()
    for feed in feeds:
        control.pause(feed, operator())
        yield f"{feed}: paused" if feed not in known else f"{feed}: was paused before{_since(known[feed])}"
    yield from _told(client, namespace, group, feeds, lambda state: state == _PAUSED)


def resume(client: redis.Redis, namespace: str, group: str, feeds: Sequence[str]) -> Iterator[str]:
    """Let feeds go on; yield what to tell of each. Raises `ingest.errors.BrokerError`."""
    control = Control(client, Keys(namespace), group)
    for feed in feeds:
        yield f"{feed}: resumed" if control.resume(feed) else f"{feed}: was not paused"
    yield from _told(client, namespace, group, feeds, lambda state: state != _PAUSED)


def operator() -> str:
    """Return who gives the order: user and machine."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = "?"
    return f"{user}@{socket.gethostname()}"


def _since(paused: Paused) -> str:
    when = f" since {datetime.fromtimestamp(paused.at, UTC):%Y-%m-%d %H:%M:%S} UTC" if paused.at else ""
    return when + (f" by {paused.by}" if paused.by.isprintable() and paused.by else "")


def _told(client: redis.Redis, namespace: str, group: str, feeds: Sequence[str], obeys: Callable[[str], bool]) -> Iterator[str]:
    """Wait until the supervisors obey; yield a line for each feed that says how they are."""
    deadline = Deadline(OBEYING)
    while True:
        states = _states(read_statuses(client, namespace), group, feeds)
        waited = [process for each in states.values() for process, state in each.items() if not obeys(state)]
        if not waited or deadline.expired:
            break
        time.sleep(_POLL)
    for feed, each in states.items():
        if not each:
            yield f"{feed}: no supervisor runs it now; the order holds for those that will"
        for process, state in each.items():
            yield f"{feed}: {process} shows {state}" + ("" if obeys(state) else ", and has not obeyed yet")


def _states(statuses: Sequence[dict[str, Any]], group: str, feeds: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return by feed and supervisor (host:pid) what its status shows; a feed that has ended there is left out."""
    found: dict[str, dict[str, str]] = {feed: {} for feed in feeds}
    for status in statuses:
        if status["kind"] != "supervisor" or status["final"] or status.get("group", group) != group:
            continue
        told = status.get("feeds")
        for feed in feeds:
            state = told[feed].get("state") if isinstance(told, dict) and isinstance(told.get(feed), dict) else None
            if isinstance(state, str) and state not in _FINAL:
                found[feed][":".join(str(status["id"]).split(":")[:2])] = state
    return found
