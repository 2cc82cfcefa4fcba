"""The commands that repair: ``pause``, ``resume`` and ``doctor``.

The rule: declares and reports; the work is in `ingest.tools`. Exit codes as everywhere: 2 where Redis is of no use.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ingest.service.command_support import FeedsOption, known_feeds, opened_redis, problems_reported


def pause(
    feed: Annotated[list[str], typer.Argument(metavar="FEED", show_default=False, help="The feeds' names.")],
    feeds: FeedsOption = None,
) -> None:
    """Close a feed's connection until it is resumed. No supervisor makes another meanwhile.

    What was read is handed over, the lead stays where it is, and a restart changes nothing. The time is recorded as a gap.
    """
    from ingest.tools import pausing

    with opened_redis(feeds) as (client, settings):
        names = known_feeds(settings, feed, "FEED")
        for line in pausing.pause(client, settings.broker.namespace, settings.supervisor.group, names):
            typer.echo(line)


def resume(
    feed: Annotated[list[str], typer.Argument(metavar="FEED", show_default=False, help="The feeds' names.")],
    feeds: FeedsOption = None,
) -> None:
    """Let a paused feed connect again."""
    from ingest.tools import pausing

    with opened_redis(feeds) as (client, settings):
        names = known_feeds(settings, feed, "FEED")
        for line in pausing.resume(client, settings.broker.namespace, settings.supervisor.group, names):
            typer.echo(line)


def doctor(
    feeds: FeedsOption = None,
    connections: Annotated[
        int | None,
        typer.Option("--connections", metavar="N", min=1, help="What your Redis plan takes. Default: what Redis says, or 20."),
    ] = None,
    grace: Annotated[
        float, typer.Option("--grace", metavar="SECONDS", min=1, help="From the platform's SIGTERM to its SIGKILL.")
    ] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look for what is often wrong, and name the remedy of each. It looks at Redis, connections, queues and limits.

    Takes about a second. Exit code 0, or 1 if there is a problem; warnings are none. Nothing is changed.
    """
    from ingest.service.check import make_console
    from ingest.service.looking import look_settings
    from ingest.tools.doctor import run_doctor

    with problems_reported(feeds):
        settings = look_settings(feeds)
    raise typer.Exit(run_doctor(settings, plan=connections, grace=grace, as_json=as_json, out=make_console(sys.stdout)))


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(epilog="Example: python -m ingest pause trades")(pause)
    app.command(epilog="Example: python -m ingest resume trades")(resume)
    app.command(epilog="Example: python -m ingest doctor --connections 20")(doctor)
