"""What ``dead-letters`` does: lists, shows, retries and deletes messages that were given up.

The rule: never more than a batch in memory; texts from Redis reach a terminal without control characters, secrets masked.
"""

from __future__ import annotations

import difflib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ingest.broker.dead_letter import DeadLetter
from ingest.broker.dead_letters import DeadLetters, Filter
from ingest.broker.queues import queue_depths
from ingest.telemetry.facts import safe_text
from ingest.telemetry.masking import mask_text
from ingest.tools.doctor.plan import queue_names
from ingest.tools.show import printable
from settings.model import Settings

#: Seconds between two looks at the depth of a full queue.
_ROOM_POLL = 0.2

#: Seconds between two lines that say why nothing moves, where there is no terminal for a bar.
TELL_EVERY = 60.0

#: Ids by queue, so many at a time as one call takes.
Batches = Iterable[tuple[str, list[str]]]

#: Says why nothing moves.
Tell = Callable[[str], object]

_COLUMNS = ("died (UTC)", "queue", "actor", "feed", "seq", "retries", "cause", "id")


class NoSuchFeed(Exception):
    """A feed that an operator named, that no settings have, and of which there are no dead letters."""


class Unknown(Exception):
    """A dead letter that an operator named, and that is none."""

    def __init__(self, ident: str) -> None:
        super().__init__(ident)
        self.ident = ident

    def __str__(self) -> str:
        return f"there is no dead letter {printable(self.ident)}: it may have been retried, deleted or expired meanwhile"


@dataclass(slots=True)
class Outcome:
    """What became of the dead letters that were meant; ``skipped`` were none any more, or nobody can read them."""

    done: int = 0
    skipped: int = 0
    queues: dict[str, int] = field(default_factory=dict)

    def add(self, queue: str, done: int, asked: int) -> None:
        self.done += done
        self.skipped += asked - done
        self.queues[queue] = self.queues.get(queue, 0) + done


def list_letters(dead: DeadLetters, wanted: Filter, limit: int, *, as_json: bool, out: Console) -> int:
    """Print the oldest dead letters, at most ``limit``, and return how many there were."""
    found = dead.scan(wanted, limit)
    if as_json:
        told = 0
        for letter in found:
            out.print(json.dumps(summary_of(letter)), soft_wrap=True)
            told += 1
        return told
    rows = [_row(letter) for letter in found]
    if not rows:
        out.print("no dead letters")
        return 0
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    out.print(table)
    if len(rows) == limit and (total := dead.count(wanted)) > limit:
        there_are = f"looked through a part of {total}" if wanted.reads_content else f"of {total}"
        out.print(f"the first {limit}, {there_are}; --limit shows more")
    return len(rows)


def show_letter(letter: DeadLetter, *, as_json: bool, out: Console) -> None:
    """Print all that is known of one dead letter."""
    if as_json:
        content = {key: value for key, value in (letter.content or {}).items() if key in ("args", "kwargs", "options")}
        told = {**summary_of(letter), "traceback": mask_text(letter.traceback), **content}
        out.print(json.dumps(told, default=repr), soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in summary_of(letter).items():
        if value not in (None, ""):
            table.add_row(name, printable(mask_text(str(value))))
    for name in ("args", "kwargs"):
        if letter.content is not None:
            table.add_row(name, safe_text(json.dumps(letter.content.get(name), default=repr)))
    out.print(table)
    for line in mask_text(letter.traceback).splitlines():
        out.print(printable(line), soft_wrap=True)


def summary_of(letter: DeadLetter) -> dict[str, Any]:
    """Return what a list tells of a dead letter, as JSON can say it."""
    told = {name: value for name, value in asdict(letter).items() if name not in ("traceback", "content")}
    return {**told, "cause": safe_text(letter.cause), "age": round(max(0.0, time.time() - letter.at), 1)}


def explain_nothing(wanted: Filter, settings: Settings) -> str:
    """Return why a filter that took nothing may be mistyped, for a name that the settings do not have; "" where it is not.

    `NoSuchFeed` where the feed is none: feeds are all in the settings, queues of other applications are not.
    """
    feeds, queues = list(settings.feeds), queue_names(settings)
    if wanted.feed is not None and feeds and wanted.feed not in feeds:
        raise NoSuchFeed(f"there is no such feed, and no dead letter of one; {_nearest(wanted.feed, feeds)}")
    if wanted.queue is not None and queues and wanted.queue not in queues:
        return f"the settings have no queue {printable(wanted.queue)}; {_nearest(wanted.queue, queues)}"
    return ""


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def find(dead: DeadLetters, ident: str, queue: str | None) -> DeadLetter:
    """Return the dead letter of this id, of any queue or of the one named; `Unknown` where there is none."""
    for name in [queue] if queue is not None else dead.queues():
        if (letter := dead.get(name, ident)) is not None:
            return letter
    raise Unknown(ident)


def named(dead: DeadLetters, ids: Sequence[str], queue: str | None) -> list[tuple[str, list[str]]]:
    """Return these dead letters by queue; `Unknown` where one is none."""
    found: dict[str, list[str]] = {}
    for ident in ids:
        letter = find(dead, ident, queue)
        found.setdefault(letter.queue, []).append(letter.id)
    return list(found.items())


def count_letters(batches: Batches) -> Outcome:
    """Return how many there are, and change nothing."""
    outcome = Outcome()
    for queue, ids in batches:
        outcome.add(queue, len(ids), len(ids))
    return outcome


def each_batch(what: str, total: int, batches: Batches, act: Callable[[str, list[str], Tell], int], outcome: Outcome) -> None:
    """Do it batch by batch, with a bar; what is done stands in ``outcome`` at every moment."""
    with _progress(what, total) as (advance, tell):
        for queue, ids in batches:
            outcome.add(queue, act(queue, ids, tell), len(ids))
            advance(len(ids))


def wait_for_room(client: redis.Redis, namespace: str, queue: str, high: int, tell: Tell) -> None:
    """Wait until a queue is below its high watermark, so that feeds are not held up by what is retried."""
    while (depth := queue_depths(client, namespace, [queue])[queue].ready) >= high:
        tell(f"waiting, {depth} messages in queue {printable(queue)} (high_watermark {high})")
        time.sleep(_ROOM_POLL)


@contextmanager
def _progress(what: str, total: int) -> Iterator[tuple[Callable[[int], object], Tell]]:
    """Yield what moves on, and what says why nothing does: a bar on a terminal, elsewhere a line now and then."""
    if not sys.stderr.isatty():
        yield lambda count: None, _now_and_then(what)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def advance(count: int) -> None:
            bar.update(task, advance=count, description=what)

        yield advance, lambda text: bar.update(task, description=text)


def _now_and_then(what: str) -> Tell:
    """Return what prints the first text at once and then one a minute: a queue that stays full makes every batch wait."""
    due = float("-inf")

    def tell(text: str) -> None:
        nonlocal due
        if (now := time.monotonic()) >= due:
            due = now + TELL_EVERY
            print(f"{what}: {text}", file=sys.stderr, flush=True)

    return tell


def _row(letter: DeadLetter) -> tuple[str, ...]:
    return (
        died(letter.at),
        printable(letter.queue),
        printable(letter.actor),
        printable(letter.feed or ""),
        "" if letter.seq is None else str(letter.seq),
        str(letter.retries) if not letter.problem else "",
        printable(safe_text(letter.problem or letter.cause)),
        printable(letter.id),
    )


def died(at: float) -> str:
    """Return a time of death as people read it."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):  # somebody else's score
        return str(at)
