"""The commands that repair: ``dead-letters``, ``pause``, ``resume`` and ``doctor``.

The rule: declares and reports; the work is in `ingest.tools`. Exit codes as everywhere: 2 where Redis is of no use.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.service.command_support import FeedsOption, known_feeds, opened_redis, problems_reported

if TYPE_CHECKING:
    from ingest.broker.dead_letters import DeadLetters, Filter
    from ingest.tools.letters import Outcome
    from settings import Settings

letters = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, show, retry or delete messages that workers gave up.\n\nDramatiq keeps them for a week. Workers may go on.",
)

QueueOption = Annotated[str | None, typer.Option("--queue", metavar="NAME", help="Of this queue; default: of all.")]
ActorOption = Annotated[str | None, typer.Option("--actor", metavar="NAME", help="For this actor.")]
FeedOption = Annotated[str | None, typer.Option("--feed", metavar="NAME", help="Read from this feed.")]
OlderOption = Annotated[
    str | None, typer.Option("--older-than", metavar="AGE", help="Dead for longer: seconds, or with a unit (90s, 15m, 2h, 3d).")
]
NewerOption = Annotated[str | None, typer.Option("--newer-than", metavar="AGE", help="Dead for less long.")]
ExceptionOption = Annotated[
    str | None, typer.Option("--exception", metavar="TEXT", help="Whose cause holds this, in any case: TimeoutError.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")]
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="These alone, by their id.", show_default=False)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_age(text: str | None, option: str) -> float | None:
    """Return an age in seconds; `typer.BadParameter` where it is none."""
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise typer.BadParameter("is no age: seconds, or a number with a unit (90s, 15m, 2h, 3d)", param_hint=option)
    return seconds


@letters.command("list", epilog="Example: python -m ingest dead-letters list --queue trades --exception TimeoutError")
def list_(
    feeds: FeedsOption = None,
    queue: QueueOption = None,
    actor: ActorOption = None,
    feed: FeedOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    exception: ExceptionOption = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, the oldest first, with what each died of."""
    from ingest.broker.dead_letters import DeadLetters
    from ingest.service.check import make_console
    from ingest.tools import letters as work

    wanted = _filter(queue, actor, feed, older_than, newer_than, exception)
    with opened_redis(feeds) as (client, settings):
        dead = DeadLetters(client, settings.broker.namespace)
        if work.list_letters(dead, wanted, limit, as_json=as_json, out=make_console(sys.stdout)) == 0:
            _explain_nothing(wanted, settings)


@letters.command(epilog="Example: python -m ingest dead-letters show 0b7c8a4e-3f0e-4f6e-9d7a-0f6f9a0d5b11")
def show(
    ident: Annotated[str, typer.Argument(metavar="ID", help="Its id, as in the list, or its message id.")],
    feeds: FeedsOption = None,
    queue: QueueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter: its message, and the traceback."""
    from ingest.broker.dead_letters import DeadLetters
    from ingest.service.check import make_console
    from ingest.tools import letters as work

    with opened_redis(feeds) as (client, settings):
        dead = DeadLetters(client, settings.broker.namespace)
        try:
            letter = work.find(dead, ident, queue)
        except work.Unknown as error:
            raise typer.BadParameter(str(error), param_hint="ID") from None
        work.show_letter(letter, as_json=as_json, out=make_console(sys.stdout))


@letters.command(epilog="Example: python -m ingest dead-letters retry --queue trades --newer-than 2h --dry-run")
def retry(
    ids: IdsArgument = None,
    feeds: FeedsOption = None,
    queue: QueueOption = None,
    actor: ActorOption = None,
    feed: FeedOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    exception: ExceptionOption = None,
    dry_run: DryRunOption = False,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Do not wait while a queue is at its high watermark; feeds may have to.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put dead letters back into their queues, to be tried anew: those named, or all that the options leave.

    In order of age, each with all its retries before it again, and with the same `message_id` and `frame`.
    """
    from ingest.broker.dead_letters import DeadLetters
    from ingest.tools import letters as work

    wanted = _filter(queue, actor, feed, older_than, newer_than, exception)
    with opened_redis(feeds) as (client, settings):
        namespace = settings.broker.namespace
        dead = DeadLetters(client, namespace)
        batches = _meant(dead, ids, wanted)
        if dry_run:
            meant = work.count_letters(batches)
            _say("would retry", meant, as_json)
            if meant.done == 0:
                _explain_nothing(wanted, settings)
            return

        def act(name: str, some: list[str], tell: work.Tell) -> int:
            if not at_once:
                work.wait_for_room(client, namespace, name, settings.queue(name).high_watermark, tell)
            return dead.retry(name, some)

        outcome = work.Outcome()
        try:
            work.each_batch("retrying", len(ids) if ids else dead.count(wanted), batches, act, outcome)
        finally:
            _say("retried", outcome, as_json)
        if outcome.done == outcome.skipped == 0:
            _explain_nothing(wanted, settings)


@letters.command(epilog="Example: python -m ingest dead-letters purge --queue trades --older-than 3d --yes")
def purge(
    ids: IdsArgument = None,
    feeds: FeedsOption = None,
    queue: QueueOption = None,
    actor: ActorOption = None,
    feed: FeedOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    exception: ExceptionOption = None,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete dead letters for good: those named, or all that the options leave."""
    from ingest.broker.dead_letters import DeadLetters
    from ingest.tools import letters as work
    from ingest.tools.show import printable

    wanted = _filter(queue, actor, feed, older_than, newer_than, exception)
    wanted = replace(wanted, until=time.time())  # what dies while the question is open is not what was asked
    with opened_redis(feeds) as (client, settings):
        dead = DeadLetters(client, settings.broker.namespace)
        meant = work.count_letters(_meant(dead, ids, wanted))
        if dry_run or meant.done == 0:
            _say("would delete" if dry_run else "deleted", meant, as_json)
            if meant.done == 0:
                _explain_nothing(wanted, settings)
            return
        where = ", ".join(f"{count} of queue {printable(name)}" for name, count in meant.queues.items())
        if not yes and not typer.confirm(f"delete {meant.done} dead letters for good ({where})?", err=True):
            raise typer.Exit(1)
        outcome = work.Outcome()
        try:
            batches = _meant(dead, ids, wanted)
            work.each_batch("deleting", meant.done, batches, lambda name, some, _: dead.delete(name, some), outcome)
        finally:
            _say("deleted", outcome, as_json)


def pause(
    feed: Annotated[list[str], typer.Argument(metavar="FEED...", help="The feeds' names.")],
    feeds: FeedsOption = None,
) -> None:
    """Have the supervisors close a feed's connection and make no other, until `resume`.

    What was read is handed over, the lead stays where it is, and a restart changes nothing. The time is recorded as a gap.
    """
    from ingest.tools import pausing

    with opened_redis(feeds) as (client, settings):
        names = known_feeds(settings, feed, "FEED")
        for line in pausing.pause(client, settings.broker.namespace, settings.supervisor.group, names):
            typer.echo(line)


def resume(
    feed: Annotated[list[str], typer.Argument(metavar="FEED...", help="The feeds' names.")],
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
    """Look for what is often wrong with Redis, connections, queues and limits, and name the remedy of each.

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
    app.add_typer(letters, name="dead-letters")
    app.command(epilog="Example: python -m ingest pause trades")(pause)
    app.command(epilog="Example: python -m ingest resume trades")(resume)
    app.command(epilog="Example: python -m ingest doctor --connections 20")(doctor)


def _meant(dead: DeadLetters, ids: list[str] | None, wanted: Filter) -> Iterable[tuple[str, list[str]]]:
    """Return which dead letters are meant: those named, or those that a filter takes."""
    from ingest.tools import letters as work

    if not ids:
        return dead.batches(wanted)
    if wanted.reads_content or (wanted.older_than, wanted.newer_than) != (None, None):
        raise typer.BadParameter("name some, or filter, not both (but for --queue)", param_hint="ID")
    try:
        return work.named(dead, ids, wanted.queue)
    except work.Unknown as error:
        raise typer.BadParameter(str(error), param_hint="ID") from None


def _explain_nothing(wanted: Filter, settings: Settings) -> None:
    """Where a filter took nothing, say which of its names may be mistyped."""
    from ingest.tools import letters as work

    try:
        hint = work.explain_nothing(wanted, settings)
    except work.NoSuchFeed as error:
        raise typer.BadParameter(str(error), param_hint="--feed") from None
    if hint:
        typer.echo(hint, err=True)


def _say(what: str, outcome: Outcome, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"what": what, "count": outcome.done, "skipped": outcome.skipped, "queues": outcome.queues}))
        return
    skipped = f", {outcome.skipped} skipped: gone meanwhile, or nobody can read them" if outcome.skipped else ""
    typer.echo(f"{what} {outcome.done} dead letters{skipped}")


def _filter(
    queue: str | None, actor: str | None, feed: str | None, older: str | None, newer: str | None, exception: str | None
) -> Filter:
    from ingest.broker.dead_letters import Filter

    return Filter(
        queue=queue,
        actor=actor,
        feed=feed,
        older_than=parse_age(older, "--older-than"),
        newer_than=parse_age(newer, "--newer-than"),
        exception=exception,
    )
