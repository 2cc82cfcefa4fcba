"""The command line.

The rule: a user's mistake is a sentence on standard error and exit code 2, never a traceback; a bug of ours is one. Exit codes:
0 clean, 1 a feed or the run failed, 2 bad usage or settings.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ingest.service import dead_letter_commands, record_commands, repair_commands, web_command
from ingest.service.command_support import FeedsOption, known_feeds, problems_reported
from ingest.service.loading import load_settings
from ingest.service.overview import InOrder
from ingest.service.streams import flushed_at_end
from ingest.version import project_version
from settings.environment import Environment
from settings.schema import file_schema

app = typer.Typer(
    name="dramatiq-websocket",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text reads the same in a terminal, a log and a pipe
    context_settings={"help_option_names": ["-h", "--help"]},
    cls=InOrder,
    epilog="Try it: python -m ingest dev (nothing to set up). Then write feeds.toml, check it, run it.",
)

RateOption = Annotated[float, typer.Option(metavar="N", help="Book updates and trades per second, over all symbols.")]
SeedOption = Annotated[int, typer.Option(metavar="N", help="The same seed gives the same market.")]
SymbolsOption = Annotated[str, typer.Option(metavar="A/B,C/D", help="The symbols to simulate, comma-separated.")]
FaultsOption = Annotated[bool, typer.Option("--faults", help="Drop, stall, restart and refuse from time to time.")]


record_commands.register(app)
dead_letter_commands.register(app)
repair_commands.register(app)
web_command.register(app)


def main() -> None:
    """Run the command line with the process's arguments."""
    with flushed_at_end():
        app(prog_name="dramatiq-websocket" if Path(sys.argv[0]).name == "dramatiq-websocket" else "python -m ingest")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dramatiq-websocket {project_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """WebSocket feeds in your Dramatiq queue: reconnected, watched, subscribed, rate-limited."""


@app.command(epilog="Example: python -m ingest check --connect && python -m ingest run")
def check(
    feeds: FeedsOption = None,
    connect: Annotated[bool, typer.Option("--connect", help="Also try Redis and the handshake of every feed.")] = False,
) -> None:
    """Check the settings and print what will run.

    Everything that is wrong is listed at once, with its key; secrets are masked. What the settings name (sessions, functions,
    and the modules of [workers] actors) is imported, and actor and queue names are compared.
    """
    from ingest.service import check as checking  # what only one command needs is imported by it

    with problems_reported(feeds):
        settings = load_settings(feeds, actors=True)
        references = checking.check(settings)
    out = checking.make_console(sys.stdout)
    checking.show(settings, out)
    if connect:
        raise typer.Exit(checking.try_connections(settings, references, out))


@app.command(epilog="Example: python -m ingest schema > feeds.schema.json (most editors complete and check TOML by it)")
def schema() -> None:
    """Print the JSON Schema of the settings file."""
    typer.echo(json.dumps(file_schema(), indent=2))


@app.command(
    epilog="Example: python -m ingest run --feeds feeds.toml --only trades book",
    context_settings={"allow_extra_args": True},  # the names after the first, which click lets no option take
)
def run(
    context: typer.Context,
    feeds: FeedsOption = None,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Run this feed alone; more may follow.")] = None,
) -> None:
    """Run the feeds until they are stopped.

    SIGTERM or Ctrl-C ends the run in order, within [supervisor] shutdown_timeout; a second one ends it at once. SIGHUP reads the
    file anew and restarts the feeds that have changed; a file that is wrong is refused, and what runs goes on.
    """
    more = context.args
    if more and not only:
        raise typer.BadParameter(f"{more[0]} stands alone; to run some feeds only: --only {' '.join(more)}", param_hint="NAME")
    with problems_reported(feeds):
        environment = Environment.read()
        settings = load_settings(feeds)
        names = known_feeds(settings, [*(only or ()), *more])
        from ingest.service.supervisor import run as supervise
        from ingest.telemetry.log import configure_logging

        configure_logging(environment.log_level, environment.log_format)
        code = supervise(settings, names, load=lambda: load_settings(feeds))
    raise typer.Exit(code)


@app.command(epilog="Example: python -m ingest gaps --feed trades --since 3600 --json")
def gaps(
    feeds: FeedsOption = None,
    feed: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Of this feed alone; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line, with all that is known.")] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Only what ended in the last so many seconds, or since a time (ISO 8601, UTC)."),
    ] = None,
) -> None:
    """List when frames may have been missed, and why. The newest comes last.

    Redis keeps the newest 1000 for each feed. Nothing is changed.
    """
    from ingest.service import check as checking
    from ingest.service import gaps as listing
    from ingest.telemetry.masking import hide_secrets_of

    try:
        since_us = listing.parse_since(since, time.time()) if since is not None else 0
    except ValueError as error:
        raise typer.BadParameter(f"neither seconds nor a time: {error}", param_hint="--since") from None
    with problems_reported(feeds):
        settings = load_settings(feeds)
        hide_secrets_of(settings)
        found = listing.gaps_of(settings, known_feeds(settings, feed or (), "--feed"), since_us)
    if as_json:
        for line in listing.json_lines(found):
            typer.echo(line)
    else:
        listing.show_gaps(found, checking.make_console(sys.stdout))


@app.command(epilog="Example: python -m ingest status --json | jq -r .headline")
def status(
    feeds: FeedsOption = None,
    feed: Annotated[list[str] | None, typer.Option(metavar="NAME", help="This feed alone; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with all that is known.")] = False,
) -> None:
    """Say in one sentence what is wrong and what helps. Then show feeds, queues and processes of all machines.

    Takes Redis from the settings file, or without one from REDIS_URL, and waits some two seconds for rates. Exit code 0 if all
    is well, 1 if something is wrong, 2 if Redis does not answer. Nothing is changed.
    """
    from ingest.service.looking import look_settings, run_status

    with problems_reported(feeds):
        settings = look_settings(feeds)
        raise typer.Exit(run_status(settings, feed or (), as_json=as_json))


@app.command(epilog="Example: python -m ingest top --feed trades")
def top(
    feeds: FeedsOption = None,
    feed: Annotated[list[str] | None, typer.Option(metavar="NAME", help="This feed alone; may be repeated.")] = None,
) -> None:
    """Show what `status` shows, live in a terminal. It takes 80 columns or more, and ends with q or Ctrl-C.

    Needs the extra "top". While Redis does not answer it says so, and goes on by itself. Nothing is changed.
    """
    from ingest.service.looking import look_settings, run_top

    with problems_reported(feeds):
        settings = look_settings(feeds)
        raise typer.Exit(run_top(settings, feed or ()))


@app.command(epilog="Example: HEALTH_PORT=9090 python -m ingest health --live")
def health(
    feeds: FeedsOption = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask only whether its loops turn, not whether all feeds are ready.")
    ] = False,
) -> None:
    """Ask the supervisor on this machine how it is. It is for containers.

    Prints its answer. Ends with 0 if it is well, 1 if it is not or nobody answers. The port is that of [supervisor] health_port
    or HEALTH_PORT.
    """
    from ingest.service.health_probe import ask

    with problems_reported(feeds):
        code, text = ask(feeds, "/live" if live else "/ready")
    typer.echo(text, err=code != 0)
    raise typer.Exit(code)


@app.command(epilog="Example: python -m ingest dev --seconds 20 --faults")
def dev(
    feeds: Annotated[
        Path | None, typer.Option("--feeds", metavar="FILE", help="Your own feeds instead of the simulated exchange.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(metavar="SECONDS", min=1, help="End after so long.")] = None,
    rate: RateOption = 200,
    seed: SeedOption = 1,
    symbols: SymbolsOption = "BTC/USD,ETH/USD",
    faults: FaultsOption = False,
    tcp: Annotated[bool, typer.Option("--tcp", help="Let the embedded server listen on TCP, to look into it.")] = False,
) -> None:
    """Watch it work, with a server and workers of its own.

    Starts an embedded Valkey, a simulated exchange, the supervisor and the workers, shows a live table, and ends everything in
    order on Ctrl-C.
    """
    from ingest.tools.dev import run_dev

    raise typer.Exit(run_dev(feeds=feeds, seconds=seconds, rate=rate, seed=seed, symbols=_split(symbols), faults=faults, tcp=tcp))


@app.command(epilog="Example: python -m ingest simulate --port 8765 --rate 1000")
def simulate(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="The port; 0 takes a free one.")] = 8765,
    rate: RateOption = 200,
    seed: SeedOption = 1,
    symbols: SymbolsOption = "BTC/USD,ETH/USD",
    idle_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Close a client that has subscribed to nothing after so long.")
    ] = 60,
    faults: FaultsOption = False,
) -> None:
    """Run a simulated exchange that speaks Kraken's protocol (v2)."""
    from ingest.tools.simulate import run_simulation

    raise typer.Exit(run_simulation(host, port, rate, seed, _split(symbols), faults, idle_timeout))


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
