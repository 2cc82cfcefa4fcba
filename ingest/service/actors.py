"""Compares the feeds with the actors that are there: a mistyped name would be a silent loss.

The rule: the user's actor modules are imported on a broker that connects to nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dramatiq

from ingest.broker.assembly import MiddlewareRefused, assemble_middleware
from ingest.imports import ImportRefused, import_module
from settings.model import FeedSettings, Settings
from settings.problems import Problem, show_path


class OfflineBroker(dramatiq.Broker):
    """A broker that knows its actors and queues, and nothing else."""

    def declare_queue(self, queue_name: str) -> None:
        self.queues[queue_name] = None

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        raise RuntimeError(f"a message for {message.actor_name!r} was sent while the module was imported")


def stand_in(middleware: Mapping[str, object]) -> OfflineBroker:
    """Return an offline broker that is the process's from now on; raises `MiddlewareRefused`."""
    broker = OfflineBroker(assemble_middleware((), middleware))
    dramatiq.set_broker(broker)
    return broker


def check_actors(settings: Settings, middleware: Mapping[str, object], broker: OfflineBroker | None = None) -> list[Problem]:
    """Import the modules of ``[workers] actors`` and return what does not fit the feeds; nothing if there are none.

    ``middleware`` is what ``[broker] middleware`` names: it decides which options an actor may have. ``broker`` was there when
    other modules of the user's were imported, which may be the same (see `stand_in`). Sets Dramatiq's global broker, so this is
    for a process that does nothing else.
    """
    queues, problems = import_actors(list(enumerate(settings.workers.actors)), middleware, broker)
    if problems or not settings.workers.actors:
        return problems
    return [problem for feed in settings.feeds.values() for problem in compare(feed, queues)]


def import_actors(
    modules: Sequence[tuple[int, str]], middleware: Mapping[str, object], broker: OfflineBroker | None = None
) -> tuple[dict[str, str], list[Problem]]:
    """Import modules, each with its place in the list, and return the queue of every actor in them, and what is wrong."""
    try:
        broker = broker or OfflineBroker(assemble_middleware((), middleware))
    except MiddlewareRefused as error:
        return {}, [Problem("broker.middleware", str(error))]
    if modules:
        dramatiq.set_broker(broker)
    problems = [problem for at, name in modules for problem in _import(at, name, broker)]
    return {name: actor.queue_name for name, actor in broker.actors.items()}, problems


def compare(feed: FeedSettings, queues: Mapping[str, str]) -> Iterable[Problem]:
    """Yield what is wrong with a feed's actors and queue, given the queue of every actor."""
    path = show_path(("feeds", feed.name))
    named = {"actor": feed.actor, "gap_actor": feed.gap_actor}
    unknown = {key: name for key, name in named.items() if name is not None and name not in queues}
    for key, name in unknown.items():
        near = difflib.get_close_matches(name, queues, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(queues)) or 'none'}"
        yield Problem(f"{path}.{key}", f"no module of [workers] actors has an actor {name!r}; {hint}")
    if feed.gap_actor is not None and (listens := queues.get(feed.gap_actor, feed.queue)) != feed.queue:
        yield Problem(
            f"{path}.gap_actor",
            f"the feed sends to {feed.queue!r}, but the actor {feed.gap_actor!r} listens on {listens!r}: "
            f'write queue_name="{feed.queue}" at the actor',
        )
    if "actor" not in unknown and (listens := queues[feed.actor]) != feed.queue:
        yield Problem(
            f"{path}.queue",
            f"the feed sends to {feed.queue!r}, but the actor {feed.actor!r} listens on {listens!r}: "
            f'write queue = "{listens}" here, or queue_name="{feed.queue}" at the actor',
        )


def _import(at: int, name: str, broker: OfflineBroker) -> Iterable[Problem]:
    path = f"workers.actors[{at}]"
    try:
        import_module(name)
    except ImportRefused as error:
        yield Problem(path, str(error))
    if dramatiq.get_broker() is not broker:
        dramatiq.set_broker(broker)
        yield Problem(
            path,
            f"the module {name!r} replaces the broker (dramatiq.set_broker): remove that call, as 'dramatiq workers' sets the "
            "broker itself, from [broker] and with the middleware of [broker] middleware",
        )
