"""What the command line's modules share: the settings file as an option, names of feeds checked, problems told.

The rule: a problem with the settings is told here and nowhere else, with exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from settings import Settings, SettingsError
from settings.environment import feeds_file
from settings.problems import Problem

if TYPE_CHECKING:
    import redis

FeedsOption = Annotated[
    Path | None,
    typer.Option("--feeds", metavar="FILE", help="The settings file. Default: $FEEDS_FILE, or feeds.toml."),
]


def known_feeds(settings: Settings, only: Sequence[str], option: str = "--only") -> tuple[str, ...]:
    """Return the feeds that an option names; `SettingsError` where a name is none, or where there is nothing to run."""
    if not settings.feeds:
        raise SettingsError([Problem("feeds", "there is none, so there is nothing to run: write a table [feeds.<name>]")])
    unknown = [name for name in only if name not in settings.feeds]
    if unknown:
        raise SettingsError([Problem(f"{option} {name}", _no_such_feed(name, settings)) for name in unknown])
    return tuple(dict.fromkeys(only))


@contextmanager
def problems_reported(feeds: Path | None) -> Iterator[None]:
    """Turn `SettingsError` into lines on standard error and exit code 2."""
    try:
        yield
    except SettingsError as error:
        count = len(error.problems)
        file = feeds if feeds is not None else feeds_file()
        _report(f"{count} problem{'s' if count > 1 else ''} with the settings ({file}):", error.problems)
        raise typer.Exit(2) from None


@contextmanager
def opened_redis(feeds: Path | None) -> Iterator[tuple[redis.Redis, Settings]]:
    """Open Redis as the settings say, the user's Dramatiq encoder in force; what goes wrong is told, with exit code 2."""
    from ingest.broker.clients import make_client
    from ingest.errors import BrokerError
    from ingest.imports import ImportRefused, import_object
    from ingest.service.looking import look_settings
    from ingest.telemetry.facts import safe_text

    with problems_reported(feeds):
        settings = look_settings(feeds)
        broker = settings.broker
        try:
            for reference in broker.middleware:  # where one sets an encoder, messages are read with it
                import_object(reference)
            client = make_client(**broker.endpoint(), max_connections=1)
        except ImportRefused as error:
            raise SettingsError([Problem("broker.middleware", str(error))]) from None
        except ValueError as error:
            raise SettingsError([Problem("broker.url", str(error))]) from None
        try:
            yield client, settings
        except BrokerError as error:
            raise SettingsError([Problem("broker.url", safe_text(str(error)))]) from error
        finally:
            client.close()


def _no_such_feed(name: str, settings: Settings) -> str:
    near = difflib.get_close_matches(name, settings.feeds, n=1)
    return (
        f"there is no such feed; did you mean {near[0]}?"
        if near
        else f"there is no such feed; there are {', '.join(settings.feeds)}"
    )


def _report(header: str, problems: Sequence[Problem]) -> None:
    typer.echo("\n".join([header, *(f"  {problem}" for problem in problems)]), err=True)
