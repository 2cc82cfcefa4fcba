"""The commands under ``dead-letters``: list, show, retry and purge what workers gave up.

The rule: declares and reports; the work is in `ingest.tools.letters`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.service.command_support import FeedsOption, opened_redis
from ingest.service.dead_letter_options import Picked, QueueOption, picking

if TYPE_CHECKING:
    from ingest.broker.dead_letters import DeadLetters, Filter
    from ingest.tools.letters import Outcome
    from settings import Settings

letters = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, show, retry or delete messages that workers gave up.\n\nDramatiq keeps them for a week. Workers may go on.",
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")]
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="These alone, by their id.", show_default=False)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")]


@letters.command("list", epilog="Example: python -m ingest dead-letters list --queue trades --exception TimeoutError")
@picking
def list_(
    *,
    feeds: FeedsOption = None,
    picked: Picked,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, the oldest first, with what each died of."""
    from ingest.broker.dead_letters import DeadLetters
    from ingest.service.check import make_console
    from ingest.tools import letters as work

    wanted = picked.filter()
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
@picking
def retry(
    *,
    ids: IdsArgument = None,
    feeds: FeedsOption = None,
    picked: Picked,
    dry_run: DryRunOption = False,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Do not wait while a queue is at its high watermark; feeds may have to.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put dead letters back into their queues, to be tried anew. Those named, or all that the options leave.

    In order of age, each with all its retries before it again, and with the same `message_id` and `frame`.
    """
    from ingest.broker.dead_letters import DeadLetters
    from ingest.tools import letters as work

    wanted = picked.filter()
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
@picking
def purge(
    *,
    ids: IdsArgument = None,
    feeds: FeedsOption = None,
    picked: Picked,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete dead letters for good. Those named, or all that the options leave."""
    from ingest.broker.dead_letters import DeadLetters
    from ingest.tools import letters as work
    from ingest.tools.show import printable

    wanted = picked.filter(until=time.time())  # what dies while the question is open is not what was asked
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


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(letters, name="dead-letters")


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
