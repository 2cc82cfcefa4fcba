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
from ingest.tools.show import NOTHING, brief_duration, duration, lag, number, printable, rate
from ingest.tools.views import ABSENT, FeedView, Overview, Process, QueueView

#: How states are coloured, wherever there are colours.
STYLES = {
    "READY": "green",
    "FAILED": "bold red",
    ABSENT: "bold red",
    "BACKING_OFF": "yellow",
    "BLOCKED": "yellow",
    "PAUSED": "yellow",
    "SLOW_CALLBACK": "yellow",
    "STOPPED": "dim",
    "STANDBY": "dim",
}

#: What stands in one row of a table.
Row = Sequence[str | Text]

_MARKS = {Severity.ERROR: ("✗", "bold red"), Severity.WARNING: ("!", "yellow"), Severity.NOTICE: ("·", "dim")}

_FLOW = ("feed", "state", "in/s", "queued/s", "done/s", "depth", "lag p50", "p99")
_WHERE = ("feed", "lead", "standby", "failed on", "reconnects", "backlog", "on disk", "last reason")
_QUEUES = ("queue", "depth", "limit", "growth/s", "delayed", "dead")
_PROCESSES = ("process", "kind", "state", "version", "feeds")

#: Columns of numbers: to the right, and never folded.
_NUMBERS = frozenset({*_FLOW[2:], *_WHERE[4:7], *_QUEUES[1:]})


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
    feeds = overview.feeds
    tables = (
        _table(_FLOW, [_flow(feed) for feed in feeds]),
        _table(_WHERE, [_where(feed) for feed in feeds]),
        _table(_QUEUES, [_queue(queue) for queue in overview.queues]),
        _table(_PROCESSES, [_process(process) for process in overview.everybody]),
    )
    for table in tables:
        if table is not None:
            out.print()
            out.print(table)
    rest = _rest(findings)
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


def _flow(feed: FeedView) -> Row:
    state = Text(printable(feed.state), style=STYLES.get(feed.state, "default"))
    if feed.paused and feed.state != "PAUSED":
        state.append(" paused", style="yellow")
    if feed.for_seconds is not None:
        state.append(f" {brief_duration(feed.for_seconds)}", style="dim")
    return (
        printable(feed.label),
        state,
        rate(feed.frames_rate),
        rate(feed.enqueued_rate),
        rate(feed.processed_rate),
        number(feed.depth),
        lag(feed.lag_p50),
        lag(feed.lag_p99),
    )


def _where(feed: FeedView) -> Row:
    return (
        printable(feed.label),
        printable(feed.lead) or NOTHING,
        printable(", ".join(feed.standbys)),
        printable(", ".join(feed.failed_on)),
        number(feed.reconnects),
        number(feed.backlog),
        number(feed.spooled) if feed.spooled else "",
        printable(feed.last_reason),
    )


def _queue(queue: QueueView) -> Row:
    return (
        printable(queue.name),
        number(queue.depth),
        number(queue.high_watermark) if queue.high_watermark is not None else "",
        f"{queue.growth:+,.0f}" if queue.growth is not None else "",
        number(queue.delayed) if queue.delayed else "",
        number(queue.dead) if queue.dead else "",
    )


def _process(process: Process) -> Row:
    feeds = printable(", ".join(process.feeds))
    return printable(process.name), process.kind, _how(process), printable(process.version), feeds


def _how(process: Process) -> Text:
    if process.gone:
        return Text(f"gone for {duration(process.age)}", style="red")
    if process.final:
        return Text(f"stopped {duration(process.age)} ago", style="dim")
    if not process.alive:
        return Text(f"silent for {duration(process.age)}", style="yellow")
    return Text("runs", style="green")


def _table(columns: Sequence[str], rows: Sequence[Row]) -> Table | None:
    """Lay rows out; a column in which nothing stands takes the room of those that matter."""
    if not rows:
        return None
    shown = [at for at, _ in enumerate(columns) if any(str(row[at]) for row in rows)]
    table = Table(box=None, pad_edge=False)
    for at in shown:
        right = columns[at] in _NUMBERS
        table.add_column(columns[at], justify="right" if right else "left", no_wrap=right, overflow="fold", min_width=5)
    for row in rows:
        table.add_row(*(row[at] for at in shown))
    return table
