"""The table of ``top``: which columns fit into a width, what stands in them, and in which order the feeds come.

The rule: pure; at 80 columns nothing is cut but long names, and a wider terminal shows more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from ingest.tools.findings import Finding, Severity
from ingest.tools.show import brief, brief_duration, lag, printable, sparkline
from ingest.tools.status import STYLES
from ingest.tools.views import FeedView

#: Blanks between two columns, and what the table keeps free at its right for the scroll bar.
GAP = 2
MARGIN = 1

#: Characters of a long name that are shown before further columns are.
_NAME = 14
_SPARK = 12


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its width in characters, and what it shows of a feed."""

    title: str
    width: int
    show: Callable[[FeedView], Text]
    left: bool = False

    def cell(self, feed: FeedView) -> Text:
        """Return what stands in the column, cut or filled to its width."""
        text = self.show(feed)
        text.truncate(self.width, overflow="ellipsis")
        if not self.left:
            text.pad_left(self.width - text.cell_len)
        return text

    def head(self) -> Text:
        return Text(self.title if self.left else self.title.rjust(self.width))


def _plain(show: Callable[[FeedView], str]) -> Callable[[FeedView], Text]:
    return lambda feed: Text(show(feed))


def _state(feed: FeedView) -> Text:
    if not feed.alive and feed.state not in ("ABSENT", "STOPPED"):
        return Text("SILENT", style="bold red")
    return Text(printable(feed.state), style=STYLES.get(feed.state, ""))


def _spark(feed: FeedView) -> Text:
    return Text(sparkline([point.frames for point in feed.points], _SPARK), style="cyan")


#: In the order in which they stand.
_COLUMNS = {
    "state": Column("state", 13, _state, left=True),
    "for": Column("for", 4, _plain(lambda feed: brief_duration(feed.for_seconds))),
    "in": Column("in/s", 5, _plain(lambda feed: brief(feed.frames_rate))),
    "queued": Column("queued/s", 8, _plain(lambda feed: brief(feed.enqueued_rate))),
    "done": Column("done/s", 6, _plain(lambda feed: brief(feed.processed_rate))),
    "depth": Column("depth", 5, _plain(lambda feed: brief(feed.depth))),
    "p50": Column("lag p50", 7, _plain(lambda feed: lag(feed.lag_p50))),
    "p99": Column("lag p99", 7, _plain(lambda feed: lag(feed.lag_p99))),
    "backlog": Column("backlog", 7, _plain(lambda feed: brief(feed.backlog))),
    "disk": Column("on disk", 7, _plain(lambda feed: brief(feed.spooled))),
    "reconnects": Column("reconn.", 7, _plain(lambda feed: brief(feed.reconnects))),
    "spark": Column("in/s 2 min", _SPARK, _spark, left=True),
    "lead": Column("lead", 20, _plain(lambda feed: printable(feed.lead) or "-"), left=True),
}

#: In the order in which they are given room.
_PRIORITY = ("state", "in", "depth", "p99", "done", "spark", "reconnects", "for", "queued", "backlog", "p50", "lead", "disk")


def columns(width: int, longest_name: int) -> list[Column]:
    """Return the columns for a terminal of this width; the feed's name comes first, and takes the room that is left."""
    wanted = max(len("feed"), longest_name)
    room = width - MARGIN - GAP - min(wanted, _NAME)
    chosen = set()
    for key in _PRIORITY:
        if _COLUMNS[key].width + GAP > room:
            break
        room -= _COLUMNS[key].width + GAP
        chosen.add(key)
    name = min(wanted, _NAME + max(0, room))
    first = Column("feed", name, lambda feed: Text(printable(feed.label), style="bold"), left=True)
    return [first, *(column for key, column in _COLUMNS.items() if key in chosen)]


#: By what feeds are sorted, and what `s` goes through.
ORDERS = ("worst", "name", "in/s", "done/s", "depth", "lag")


def arranged(
    feeds: Sequence[FeedView], findings: Sequence[Finding], *, order: str, backwards: bool = False, filter_text: str = ""
) -> list[FeedView]:
    """Return the feeds whose name, state or queue holds the filter's text, in an order; the largest first, but for names."""
    wanted = filter_text.casefold()
    shown = [feed for feed in feeds if wanted in f"{feed.label} {feed.state} {feed.queue}".casefold()]
    shown.sort(key=lambda feed: feed.label)
    if order == "worst":
        worst = {subject: min(each.severity for each in findings if each.subject == subject) for subject in _subjects(findings)}
        shown.sort(key=lambda feed: worst.get(printable(feed.label), len(Severity)))
    elif order != "name":
        shown.sort(key=_SIZES[order], reverse=True)
    return shown[::-1] if backwards else shown


_SIZES: dict[str, Callable[[FeedView], float]] = {
    "in/s": lambda feed: feed.frames_rate or 0.0,
    "done/s": lambda feed: feed.processed_rate or 0.0,
    "depth": lambda feed: feed.depth,
    "lag": lambda feed: feed.lag_p99 or 0.0,
}


def _subjects(findings: Sequence[Finding]) -> set[str]:
    return {finding.subject for finding in findings}
