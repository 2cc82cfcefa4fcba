"""What ``top`` shows of the feed that is chosen: where, by whom, what waits, and the last hour as bars.

The rule: pure; every line fits into the width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.text import Text

from ingest.broker.history import INTERVAL, KEPT, Point
from ingest.tools.findings import Finding, Severity
from ingest.tools.show import brief, duration, lag, number, printable, sparkline
from ingest.tools.views import FeedView, QueueView

#: Lines that `detail` returns.
LINES = 7

_SEVERITIES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTICE: "dim"}

_LABEL = 9
_SCALE = 16


def detail(feed: FeedView, queue: QueueView | None, now: float, width: int) -> Text:
    """Return the lines about one feed; ``now`` is wall-clock seconds."""
    lines = [
        _line(printable(feed.label), f"{printable(feed.state)} for {duration(feed.for_seconds)}  {printable(feed.url)}"),
        _line(
            "lead",
            f"{printable(feed.lead) or 'nobody'}" + _several("standby", feed.standbys) + _several("failed on", feed.failed_on),
        ),
        _line("queue", _queue(feed, queue)),
        _bars("in/s", feed.points, lambda point: point.frames, lambda top: f"{brief(top)}/s", now, width),
        _bars("depth", feed.points, lambda point: float(point.depth), brief, now, width),
        _bars("lag p99", feed.points, lambda point: point.lag_p99, lag, now, width),
        _line("last", _last(feed)),
    ]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def findings_text(findings: Sequence[Finding], width: int) -> Text:
    """Return the findings, one a line; what does not fit is counted."""
    if not findings:
        return Text("nothing is wrong", style="green")
    shown = findings if len(findings) <= LINES else findings[: LINES - 1]
    lines = [Text(str(finding), style=_SEVERITIES[finding.severity]) for finding in shown]
    if len(shown) < len(findings):
        lines.append(Text(f"and {len(findings) - len(shown)} more: python -m ingest status", style="dim"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def condensed(points: Sequence[Point], value: Callable[[Point], float | None], now: float, width: int) -> list[float | None]:
    """Return the last hour in ``width`` steps: the largest value of each, None where there was none."""
    steps: list[float | None] = [None] * width
    for point in points:
        # The point tells of the seconds before it.
        at = int((point.at - INTERVAL / 2 - (now - KEPT)) / KEPT * width)
        known = value(point)
        if 0 <= at < width and known is not None:
            steps[at] = max(known, steps[at] or 0.0)
    return steps


def _bars(
    label: str,
    points: Sequence[Point],
    value: Callable[[Point], float | None],
    scale: Callable[[float], str],
    now: float,
    width: int,
) -> Text:
    steps = condensed(points, value, now, max(1, width - _LABEL - _SCALE))
    known = [step for step in steps if step is not None]
    top = f"  max {scale(max(known))}" if known else "  no data yet"
    return _line(label, "").append(sparkline(steps, len(steps)), style="cyan").append(top, style="dim")


def _line(label: str, text: str, style: str = "dim") -> Text:
    return Text(f"{label:<{_LABEL - 1}} ", style=style).append(text, style="default")


def _several(label: str, names: Sequence[str]) -> str:
    return f"  {label} {printable(', '.join(names))}" if names else ""


def _queue(feed: FeedView, queue: QueueView | None) -> str:
    if queue is None:
        return "-"
    limit = f" of {number(queue.high_watermark)}" if queue.high_watermark is not None else ""
    parts = [f"{printable(queue.name)}: {number(queue.depth)}{limit}"]
    parts += [f"{word} {number(count)}" for word, count in (("delayed", queue.delayed), ("dead", queue.dead)) if count]
    parts += [f"backlog {number(feed.backlog)}"]
    parts += [
        f"{word} {number(count)}"
        for word, count in (("on disk", feed.spooled), ("dropped", feed.dropped), ("lost", feed.lost))
        if count
    ]
    return "  ".join(parts)


def _last(feed: FeedView) -> str:
    if feed.happenings:
        newest = feed.happenings[-1]
        at = f"{datetime.fromtimestamp(newest.at, UTC):%H:%M:%S}Z" if 0 <= newest.at < 1e11 else ""
        return printable(f"{at} {newest.what} {newest.detail}")
    return printable(feed.last_reason) or "-"
