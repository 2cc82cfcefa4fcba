"""What ``check`` finds out and prints: what will run, and with ``--connect`` whether what it needs answers.

The rule: nothing is printed before the settings and everything that they name are known to be good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table

from ingest.broker.assembly import MiddlewareRefused
from ingest.connection.tls_context import context_for
from ingest.delivery.leftovers import left_over
from ingest.errors import BrokerError, DialFailed, EndReason
from ingest.service.actors import OfflineBroker, check_actors, stand_in
from ingest.service.cautions import memory_warnings, queue_names, settings_warnings, spool_warnings
from ingest.service.probe import probe_feed, probe_redis
from ingest.service.references import FeedCode, References, middleware_of, resolve_all
from ingest.service.shadow import ROOT, foreign_workers
from ingest.telemetry.facts import safe_text
from settings.masking import mask_url, masked
from settings.model import FeedSettings, Settings, TLSSettings
from settings.problems import Problem, SettingsError, show_path

#: Width of the output where there is no terminal: tables are not to be cut for an imagined one of 80 columns.
PIPED_WIDTH = 1000

#: Columns of the table of feeds; what else a feed sets is listed below it.
_IN_TABLE = ("url", "session", "actor", "queue")


def make_console(stream: TextIO) -> Console:
    """Return a console that prints what it is given: no markup, no emoji, and no colours where there is no terminal."""
    width = None if stream.isatty() else PIPED_WIDTH
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def check(settings: Settings) -> References:
    """Return the user's code that the settings name; `SettingsError` with every problem, of names, actors and modules."""
    problems: list[Problem] = []
    references = None
    broker = _offline_broker(settings)
    try:
        references = resolve_all(settings)
    except SettingsError as error:
        problems += error.problems
    middleware = references.middleware if references is not None else middleware_of(settings.broker.middleware)
    if middleware is not None:  # without it an actor may seem to have options that nobody knows
        problems += check_actors(settings, middleware, broker)
    problems += _tls_problems(settings.feeds.values())
    if not settings.feeds:
        problems.append(Problem("feeds", "there is none, so there is nothing to run: write a table [feeds.<name>]"))
    if settings.workers.actors and (foreign := foreign_workers()) is not None:
        problems.append(
            Problem(
                "workers",
                f"{foreign} shadows the module 'workers' of dramatiq-websocket, which 'dramatiq workers' needs: rename it, or "
                f"start the workers with 'dramatiq workers --path . {ROOT}'",
            )
        )
    if problems or references is None:
        raise SettingsError(problems)
    return references


def _tls_problems(feeds: Iterable[FeedSettings]) -> Iterator[Problem]:
    """Yield whose ciphers, certificates or key OpenSSL refuses: that the files are there is known by now, not what is in them."""
    for feed in feeds:
        try:
            if feed.tls != TLSSettings():
                context_for(feed.tls)
        except DialFailed as failed:
            yield Problem(show_path(("feeds", feed.name)), failed.detail)


def _offline_broker(settings: Settings) -> OfflineBroker | None:
    """Set a broker before the user's modules are imported: actors may be in the same one as a session.

    None where there is nothing to compare, or where `check_actors` will say why there can be none.
    """
    middleware = middleware_of(settings.broker.middleware) if settings.workers.actors else None
    if middleware is None:
        return None
    try:
        return stand_in(middleware)
    except MiddlewareRefused:
        return None


def show(settings: Settings, out: Console) -> None:
    """Print what will run, secrets masked."""
    out.print(_feeds_table(settings.feeds.values()))
    for feed in settings.feeds.values():
        if rest := ", ".join(_further(feed)):
            out.print(f"  {feed.name}: {rest}", soft_wrap=True)
    out.print(_queues_table(settings))
    broker = mask_url(settings.broker.url.get_secret_value())
    out.print(f"broker: {broker}, namespace {settings.broker.namespace}", soft_wrap=True)
    if supervisor := ", ".join(_flat(masked(settings.supervisor), ())):
        out.print(f"supervisor: {supervisor}", soft_wrap=True)
    modules = ", ".join(settings.workers.actors)
    actors = (
        f"every feed's actor is in {modules}, on the feed's queue" if modules else "not checked ([workers] actors is not set)"
    )
    out.print(f"actors: {actors}", soft_wrap=True)
    if not modules and (foreign := foreign_workers()) is not None:
        out.print(f"warning: {foreign} would be what 'dramatiq workers' runs here, not the workers of dramatiq-websocket")
    for warning in (*settings_warnings(settings), *spool_warnings(settings, left_over)):
        out.print(f"warning: {warning}", soft_wrap=True)


def try_connections(settings: Settings, references: References, out: Console) -> int:
    """Try Redis and every handshake, and print how it went; return the exit code: 2 if Redis is of no use, 1 if a feed failed."""
    broker_good = _try_broker(settings, out)
    feeds_good = [_try_feed(feed, references.feeds[name], out) for name, feed in settings.feeds.items()]
    return 2 if not broker_good else 0 if all(feeds_good) else 1


def _try_broker(settings: Settings, out: Console) -> bool:
    try:
        server = probe_redis(settings.broker)
    except BrokerError as error:
        out.print(f"broker: FAILED: {safe_text(str(error))}", soft_wrap=True)
        return False
    out.print(f"broker: ok, {server.name} {server.version}", soft_wrap=True)
    for warning in memory_warnings(settings, server):
        out.print(f"warning: {warning}", soft_wrap=True)
    return True


def _try_feed(feed: FeedSettings, code: FeedCode, out: Console) -> bool:
    path = show_path(("feeds", feed.name))
    try:
        seconds = probe_feed(feed, code)
    except EndReason as reason:
        out.print(f"{path}: FAILED: {safe_text(str(reason))}", soft_wrap=True)
        return False
    out.print(f"{path}: ok, handshake in {seconds:.2f} s", soft_wrap=True)
    return True


def _table(*names: str) -> Table:
    """Return a table that a narrow terminal folds; what will run is not to be cut."""
    return Table(*(Column(name, overflow="fold") for name in names), box=None, pad_edge=False)


def _feeds_table(feeds: Iterable[FeedSettings]) -> Table:
    table = _table("feed", "url", "session", "actor", "queue")
    for feed in feeds:
        table.add_row(feed.name, mask_url(feed.url, feed.secrets), feed.session or "-", feed.actor, feed.queue)
    return table


def _queues_table(settings: Settings) -> Table:
    table = _table("queue", "high watermark", "low watermark", "messages/s")
    for name in queue_names(settings):
        queue = settings.queue(name)
        rate = f"{queue.rate_limit:g}" if queue.rate_limit is not None else "-"
        table.add_row(name, str(queue.high_watermark), str(queue.low_watermark), rate)
    return table


def _further(feed: FeedSettings) -> Iterator[str]:
    """Yield what a feed sets beyond the table's columns, as TOML has it: ``retry.max = 60``."""
    yield from _flat({key: value for key, value in masked(feed).items() if key not in _IN_TABLE}, ())


def _flat(values: dict[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, (*above, key))
        else:
            yield f"{show_path((*above, key))} = {str(value).lower() if isinstance(value, bool) else value}"
