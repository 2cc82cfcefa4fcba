"""What a worker process does before its first message: telemetry, broker, then the user's actor modules, in that order.

The rule: whatever is wrong becomes a `StartFailed` whose text names the remedy, never a traceback.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence

import dramatiq

from ingest.broker.assembly import MiddlewareRefused
from ingest.broker.broker import RateLimitedBroker
from ingest.broker.clients import UnusableURL
from ingest.imports import ImportRefused, import_module, import_object
from ingest.telemetry.log import configure_logging, log_event
from ingest.telemetry.masking import hide_secrets_of
from ingest.telemetry.sentry import init_sentry
from settings import Settings, SettingsError, load
from settings.environment import Environment
from workers.broker import build_broker
from workers.log_context import FrameLogContext
from workers.middleware.frame_scope import FrameScope


class StartFailed(Exception):
    """The worker process cannot start; the text says why and what to do."""


def start() -> None:
    """Bring the process up to where Dramatiq starts its threads."""
    try:
        settings, environment = load(spools=False), Environment.read()
        start_telemetry(settings, environment)
        scope = FrameScope(labels_of(settings), send_frames=settings.telemetry.send_frames)
        broker = make_broker(settings, [scope] if environment.sentry_dsn is not None else [])
        dramatiq.set_broker(broker)
        import_actors(settings.workers.actors, broker)
    except SettingsError as error:
        raise StartFailed(f"the settings cannot be used:\n{error}") from None


def labels_of(settings: Settings) -> dict[str, str]:
    """Return the feeds' labels by their names."""
    return {name: feed.label for name, feed in settings.feeds.items()}


def start_telemetry(settings: Settings, environment: Environment) -> None:
    """Set up logging, and Sentry where there is a DSN; before the broker, since Sentry's integration patches its making."""
    hide_secrets_of(settings)
    # `dramatiq --verbose` has set the root logger to DEBUG by now, and means it.
    verbose = logging.getLogger().level == logging.DEBUG
    configure_logging("DEBUG" if verbose else environment.log_level, environment.log_format, FrameLogContext(labels_of(settings)))
    if environment.sentry_dsn is not None:
        init_sentry(environment.sentry_dsn.get_secret_value(), "worker")


def make_broker(settings: Settings, own: Sequence[dramatiq.Middleware] = ()) -> RateLimitedBroker:
    """Return the broker with the middleware that ``[broker] middleware`` names, and ``own``."""
    try:
        extensions = {reference: import_object(reference) for reference in settings.broker.middleware}
        workers, labels = settings.workers, labels_of(settings)
        return build_broker(settings.broker, extensions, workers.wake, metrics=workers.prometheus, labels=labels, own=own)
    except (ImportRefused, MiddlewareRefused) as error:
        raise StartFailed(f"broker.middleware: {error}") from None
    except UnusableURL as error:
        raise StartFailed(f"broker.url: {error}") from None


def import_actors(modules: Iterable[str], broker: dramatiq.Broker) -> None:
    """Import the actor modules in order; every actor in them must end up on ``broker``."""
    known: set[str] = set()
    for name in modules:
        try:
            import_module(name)
        except ImportRefused as error:
            raise StartFailed(f"workers.actors: {error}") from None
        if dramatiq.get_broker() is not broker:
            raise StartFailed(_replaced(name))
        for loaded in sorted(set(sys.modules) - known):
            _check_actors(loaded, sys.modules[loaded], broker)
        known |= set(sys.modules)
    if not broker.get_declared_actors():
        log_event(logging.WARNING, "no_actors", {"detail": "no module of [workers] actors declares an actor"})


def _check_actors(name: str, module: object, broker: dramatiq.Broker) -> None:
    for value in list(getattr(module, "__dict__", {}).values()):  # not all that lies in sys.modules is a module
        if isinstance(value, dramatiq.Actor) and value.broker is not broker:
            raise StartFailed(
                f"the actor {value.actor_name!r} in {name!r} is declared on another broker than ours, "
                "so it would never get a message; declare it without broker=…, in a module that only [workers] actors imports"
            )


def _replaced(name: str) -> str:
    return (
        f"the actor module {name!r} has replaced the broker; remove dramatiq.set_broker from it: 'dramatiq workers' "
        "sets the broker itself, from [broker] in the feeds file, and takes your middleware from [broker] middleware"
    )
