"""What the user sees: a live table on a terminal, plain lines anywhere else.

The rule: what the processes say appears above the table and cannot touch it; a reader that has gone away (a closed pipe, a
closed terminal) is told to the run as a wish to stop, never raised.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ingest.clock import Monotonic, monotonic
from ingest.tools.dev.progress import FeedNumbers
from ingest.tools.show import printable

#: Wider than any table, to ask how wide it would be.
_ANY_WIDTH = 1000
#: Seconds between two lines of numbers where there is no terminal.
PLAIN_EVERY = 5.0

_COLUMNS = ("frames/s", "enqueued", "re-\nconnects", "queue\ndepth", "processed\n/s", "lag ms\np50 / p99")
#: What a terminal that is too narrow for all of them does without, one after the other.
_DISPENSABLE = ("re-\nconnects", "lag ms\np50 / p99", "queue\ndepth", "frames/s", "enqueued")
_STYLES = {"READY": "green", "FAILED": "red", "BACKING_OFF": "yellow", "STOPPED": "dim"}


class Screen(Protocol):
    """Where a run is shown."""

    def line(self, source: str, text: str) -> None:
        """Show one line that ``source`` has said."""

    def show(self, feeds: Sequence[FeedNumbers]) -> None:
        """Show the present numbers."""

    def close(self, last: Sequence[str]) -> None:
        """Give the terminal back, and write the last lines as they are."""


class Plain:
    """Lines, each with its origin; the numbers as one line every few seconds."""

    def __init__(self, stream: TextIO, every: float = PLAIN_EVERY, clock: Monotonic = monotonic) -> None:
        self._stream = stream
        self._every = every
        self._clock = clock
        self._last = clock()

    def line(self, source: str, text: str) -> None:
        print(f"{source:<9}| {printable(text)}", file=self._stream, flush=True)

    def show(self, feeds: Sequence[FeedNumbers]) -> None:
        if self._clock() - self._last >= self._every:
            self._last = self._clock()
            self.line("dev", summary(feeds))

    def close(self, last: Sequence[str]) -> None:
        for text in last:
            print(text, file=self._stream, flush=True)


class LiveTable:
    """A table that stays at the bottom of a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(fitting(console, ()), console=console, auto_refresh=False)
        self._live.start()

    def line(self, source: str, text: str) -> None:
        self._console.print(Text(f"{source:<9}| ", style="cyan").append(printable(text), style="default"), soft_wrap=True)

    def show(self, feeds: Sequence[FeedNumbers]) -> None:
        self._live.update(fitting(self._console, feeds), refresh=True)

    def close(self, last: Sequence[str]) -> None:
        self._live.stop()
        for text in last:
            print(text, file=self._console.file, flush=True)


class Guarded:
    """A screen that may go away: then nothing more is shown, and ``gone`` is called once."""

    def __init__(self, screen: Screen, gone: Callable[[], None]) -> None:
        self._screen: Screen | None = screen
        self._gone = gone

    def line(self, source: str, text: str) -> None:
        self._do(lambda screen: screen.line(source, text))

    def show(self, feeds: Sequence[FeedNumbers]) -> None:
        self._do(lambda screen: screen.show(feeds))

    def close(self, last: Sequence[str]) -> None:
        self._do(lambda screen: screen.close(last))

    def _do(self, act: Callable[[Screen], None]) -> None:
        if self._screen is None:
            return
        try:
            act(self._screen)
        except OSError:
            self._screen = None
            # What is still buffered must not fail again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._gone()


def make_screen(stream: TextIO) -> Screen:
    """Return the table if the stream is a terminal that can show one, else plain lines."""
    if stream.isatty():
        console = Console(file=stream, highlight=False)
        if not console.is_dumb_terminal:
            return LiveTable(console)
    return Plain(stream)


def fitting(console: Console, feeds: Sequence[FeedNumbers]) -> Table:
    """Lay the numbers out with as many columns as the terminal has room for."""
    for left_out in range(len(_DISPENSABLE)):
        grid = table(feeds, without=_DISPENSABLE[:left_out])
        if Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), grid).maximum <= console.width:
            return grid
    return table(feeds, without=_DISPENSABLE)


def table(feeds: Sequence[FeedNumbers], without: Sequence[str] = ()) -> Table:
    """Lay the numbers out, one row a feed, to fit into 80 columns; what ails a feed stands below."""
    ailments = [f"{feed.name}: {reason}" for feed in feeds if (reason := _reason(feed))]
    caption = Text("\n".join([*map(printable, ailments), "Ctrl-C ends in order"]), style="dim")
    grid = Table(caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    grid.add_column("feed")
    grid.add_column("state", min_width=len("BACKING_OFF"))  # so that the table does not jump at every reconnect
    columns = [column for column in _COLUMNS if column not in without]
    for column in columns:
        grid.add_column(column, justify="right", no_wrap=True)
    for feed in feeds:
        cells = dict(zip(_COLUMNS, _numbers(feed), strict=True))
        state = Text(feed.state, style=_STYLES.get(feed.state, "default"))
        grid.add_row(Text(feed.name), state, *(cells[column] for column in columns))
    return grid


def _numbers(feed: FeedNumbers) -> tuple[str, ...]:
    """Return a feed's cells in the order of the columns."""
    return (
        f"{feed.frames_rate:,.0f}",
        f"{feed.enqueued:,}",
        f"{feed.reconnects:,}",
        f"{feed.depth:,}",
        f"{feed.processed_rate:,.0f}",
        f"{_number(feed.lag_p50)} / {_number(feed.lag_p99)}",
    )


def summary(feeds: Sequence[FeedNumbers]) -> str:
    """Say the same in one line: the sums, the slowest lag, and what ails each feed that is not ready."""
    depth = sum({feed.queue: feed.depth for feed in feeds}.values())
    parts = [
        f"ready={sum(feed.ready for feed in feeds)}/{len(feeds)}",
        f"frames/s={sum(feed.frames_rate for feed in feeds):.0f}",
        f"enqueued={sum(feed.enqueued for feed in feeds)}",
        f"reconnects={sum(feed.reconnects for feed in feeds)}",
        f"depth={depth}",
        f"processed/s={sum(feed.processed_rate for feed in feeds):.0f}",
        f"lag_p50={_milliseconds(_slowest(feed.lag_p50 for feed in feeds))}",
        f"lag_p99={_milliseconds(_slowest(feed.lag_p99 for feed in feeds))}",
    ]
    parts += [f"{feed.name}={feed.state}" + (f" ({_reason(feed)})" if _reason(feed) else "") for feed in feeds if not feed.ready]
    return " ".join(parts)


def _reason(feed: FeedNumbers) -> str | None:
    """Return why a feed is not ready; that we have stopped it is no news."""
    return None if feed.ready or feed.state == "STOPPED" else feed.last_reason


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{_number(value)} ms"


def _slowest(lags: Iterable[float | None]) -> float | None:
    return max((lag for lag in lags if lag is not None), default=None)
