"""What ``status`` prints: the one sentence that says what is wrong, then feeds, queues, processes, and what else there is to say.

The rule: everything that Redis holds may be anybody's; none of it reaches a terminal as a control character.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.tools.findings import Finding, Severity, find, headline, is_well
from ingest.tools.show import NOTHING, duration, lag, number, printable, rate
from ingest.tools.views import ABSENT, FeedView, Overview, Process, QueueView

#: How states are coloured, wherever there are colours.
STYLES = {
    "READY": "green",
    "FAILED": "bold red",
    ABSENT: "bold red",
    "BACKING_OFF": "yellow",
    "BLOCKED": "yellow",
    "SLOW_CALLBACK": "yellow",
    "STOPPED": "dim",
    "STANDBY": "dim",
}

_MARKS = {Severity.ERROR: ("✗", "bold red"), Severity.WARNING: ("!", "yellow"), Severity.NOTICE: ("·", "dim")}

_FEEDS = (
    "feed",
    "state",
    "in/s",
    "queued/s",
    "done/s",
    "depth",
    "lag p50",
    "p99",
    "backlog",
    "on disk",
    "reconnects",
    "lead",
    "standby",
)
_QUEUES = ("queue", "depth", "limit", "growth/s", "delayed", "dead")
_PROCESSES = ("process", "kind", "state", "version", "feeds")


def only_feeds(overview: Overview, names: Sequence[str]) -> Overview:
    """Return the overview of these feeds alone, with the queues that they fill; of all where none is named."""
    if not names:
        return overview
    feeds = [feed for feed in overview.feeds if feed.name in names]
    queues = {feed.queue for feed in feeds}
    return replace(overview, feeds=feeds, queues=[queue for queue in overview.queues if queue.name in queues])


def show_status(overview: Overview, out: Console) -> bool:
    """Print everything; tell whether all is well."""
    findings = find(overview)
    well = is_well(findings)
    out.print(Text(headline(overview, findings), style="green" if well else "bold red"), soft_wrap=True)
    for table in (_feeds(overview.feeds), _queues(overview.queues), _processes(overview.everybody)):
        if table is not None:
            out.print()
            out.print(table)
    reasons = [feed for feed in overview.feeds if feed.last_reason]
    rest = _rest(findings)
    if reasons:
        out.print("\nlast reasons to reconnect or give up")
        for feed in reasons:
            out.print(f"  {printable(feed.label)}: {printable(feed.last_reason)}", soft_wrap=True)
    if rest:
        out.print("\nbesides")
        for finding in rest:
            mark, style = _MARKS[finding.severity]
            out.print(Text(f"  {mark} ", style=style).append(str(finding), style="default"), soft_wrap=True)
    return well


def as_json(overview: Overview) -> dict[str, Any]:
    """Return everything as plain values; ``ok`` says whether all is well."""
    findings = find(overview)
    tree = asdict(overview)
    for feed, view in zip(tree["feeds"], overview.feeds, strict=True):
        del feed["points"], feed["happenings"]  # of no use for a moment
        feed["label"] = view.label
    for process, each in zip([*tree["supervisors"], *tree["workers"]], overview.everybody, strict=True):
        process["alive"] = each.alive
    told = [{**asdict(each), "severity": each.severity.name.lower()} for each in findings]
    return {"ok": is_well(findings), "headline": headline(overview, findings), "findings": told, **tree}


def json_text(overview: Overview) -> str:
    return json.dumps(as_json(overview), indent=2)


def _rest(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Return the findings that the headline does not tell."""
    return findings if is_well(findings) else findings[1:]


def _feeds(feeds: Sequence[FeedView]) -> Table | None:
    return _table(_FEEDS, [_feed_row(feed) for feed in feeds], right=range(2, 11))


def _feed_row(feed: FeedView) -> Sequence[str | Text]:
    state = Text(printable(feed.state), style=STYLES.get(feed.state, "default"))
    if feed.paused:
        state.append(" (paused)", style="yellow")
    if feed.for_seconds is not None:
        state.append(f" {duration(feed.for_seconds)}", style="dim")
    return (
        printable(feed.label),
        state,
        rate(feed.frames_rate),
        rate(feed.enqueued_rate),
        rate(feed.processed_rate) if feed.processed_rate is not None else "",
        number(feed.depth),
        lag(feed.lag_p50) if feed.lag_p50 is not None else "",
        lag(feed.lag_p99) if feed.lag_p99 is not None else "",
        number(feed.backlog),
        number(feed.spooled) if feed.spooled else "",
        number(feed.reconnects),
        printable(feed.lead) or NOTHING,
        printable(", ".join(feed.standbys)),
    )


def _queues(queues: Sequence[QueueView]) -> Table | None:
    rows = [
        (
            printable(queue.name),
            number(queue.depth),
            number(queue.high_watermark) if queue.high_watermark is not None else "",
            f"{queue.growth:+,.0f}" if queue.growth is not None else "",
            number(queue.delayed) if queue.delayed else "",
            number(queue.dead) if queue.dead else "",
        )
        for queue in queues
    ]
    return _table(_QUEUES, rows, right=range(1, 6))


def _processes(processes: Sequence[Process]) -> Table | None:
    rows = [
        (printable(each.name), each.kind, _how(each), printable(each.version), printable(", ".join(each.feeds)))
        for each in processes
    ]
    return _table(_PROCESSES, rows)


def _how(process: Process) -> Text:
    if process.gone:
        return Text(f"gone for {duration(process.age)}", style="red")
    if process.final:
        return Text(f"stopped {duration(process.age)} ago", style="dim")
    if not process.alive:
        return Text(f"silent for {duration(process.age)}", style="yellow")
    return Text("runs", style="green")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], right: Sequence[int] = ()) -> Table | None:
    """Lay rows out; a column in which nothing stands takes the room of those that matter."""
    shown = [at for at, _ in enumerate(columns) if any(str(row[at]) for row in rows)]
    if not rows:
        return None
    table = Table(box=None, pad_edge=False)
    for at in shown:
        table.add_column(columns[at], justify="right" if at in right else "left", no_wrap=at in right)
    for row in rows:
        table.add_row(*(row[at] for at in shown))
    return table
