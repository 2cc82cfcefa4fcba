"""The live screen: looks every second in a thread of its own, and shows what was seen. The only importer of textual.

The rule: nothing here waits for Redis. While it does not answer, the screen says so, keeps the last numbers, and goes on by
itself when it is back.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable, Input, Static

from ingest.clock import Monotonic, monotonic
from ingest.errors import BrokerError
from ingest.tools.findings import Finding, find, headline, is_well
from ingest.tools.show import duration, printable
from ingest.tools.top.columns import ORDERS, Column, arranged, columns
from ingest.tools.top.detail import LINES, detail, findings_text
from ingest.tools.views import FeedView, Overview

#: Seconds between two looks.
INTERVAL = 1.0

#: Lines of a terminal below which the details make room for the table.
_LOW = 16

#: What stands below the table, and what `d` goes through.
PANELS = ("feed", "findings", "nothing")

#: What the screen is made of.
_PARTS = ("head", "trouble", "headline", "feeds", "detail", "filter", "help")

_HELP = (("s", "sort"), ("r", "reverse"), ("/", "filter"), ("d", "details"), ("q", "quit"))


@dataclass
class Looked(Message):
    """What a look brought: an overview, or why there is none; ``fault`` is a fault of our own."""

    overview: Overview | None
    error: str = ""
    fault: Exception | None = None


class TopApp(App[None]):
    """Shows what ``look`` returns; ``where`` is the Redis that it asks, ``first`` an overview to begin with."""

    TITLE = "top"
    ENABLE_COMMAND_PALETTE = False
    CSS = f"""
    #head, #trouble, #headline, #help {{ height: 1; padding: 0 1; }}
    #head, #help {{ background: $panel; }}
    #headline.well {{ color: $text-success; }}
    #headline.wrong {{ color: $text-error; text-style: bold; height: auto; max-height: 3; }}
    #trouble {{ background: $error; color: auto; display: none; height: auto; max-height: 2; }}
    .away #trouble {{ display: block; }}
    .away #feeds, .away #detail, .away #headline {{ opacity: 50%; }}
    #feeds {{ height: 1fr; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }}
    #detail {{ height: {LINES + 1}; padding: 0 1; border-top: solid $panel; }}
    .low #detail, .bare #detail {{ display: none; }}
    #filter {{ display: none; height: 1; border: none; padding: 0 1; }}
    .filtering #filter {{ display: block; }}
    .filtering #help {{ display: none; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", priority=True),
        Binding("s", "sort", "sort"),
        Binding("r", "reverse", "reverse"),
        Binding("slash", "filter", "filter"),
        Binding("d", "panel", "details"),
        Binding("escape", "clear", "clear the filter", priority=True),
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
    ]

    def __init__(
        self,
        look: Callable[[], Overview],
        where: str,
        first: Overview | None = None,
        interval: float = INTERVAL,
        clock: Monotonic = monotonic,
    ) -> None:
        super().__init__()
        self._look = look
        self._where = where
        self._overview = first
        self._findings: list[Finding] = []
        self._interval = interval
        self._clock = clock
        self._away_since: float | None = None
        self._trouble = ""
        self._order = ORDERS[0]
        self._backwards = False
        self._filter = ""
        self._columns: list[Column] = []
        self._rows: list[FeedView] = []
        self._panel = PANELS[0]
        self._begun = False
        self._over = threading.Event()

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="trouble")
        yield Static(id="headline")
        yield DataTable[Text](id="feeds", cursor_type="row", cell_padding=1)
        yield Static(id="detail")
        yield Input(id="filter", placeholder="part of a feed's name, state or queue", compact=True)
        yield Static(id="help")

    def on_mount(self) -> None:
        """Begin to look."""
        with suppress(NotImplementedError, RuntimeError, ValueError):  # only a main thread may, and not on every system
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self._table.focus()
        self._begun = True
        self._show()
        threading.Thread(target=self._watch, name="look", daemon=True).start()

    def on_unmount(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        """Look until the screen is over; a look that hangs holds up nothing."""
        while not self._over.is_set():
            try:
                told = Looked(self._look())
            except BrokerError as error:
                told = Looked(None, str(error))
            except Exception as fault:  # noqa: BLE001 - the screen must not stand still without a word
                told = Looked(None, fault=fault)
            if self._over.is_set():
                return
            self.post_message(told)
            self._over.wait(self._interval)

    def on_looked(self, message: Looked) -> None:
        if message.fault is not None:
            raise message.fault
        if message.overview is not None:
            self._overview, self._away_since = message.overview, None
        else:
            self._trouble = message.error
            self._away_since = self._clock() if self._away_since is None else self._away_since
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        self._show()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if self._stands:
            self._show_detail()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._filter = event.value
        self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._end_filtering()

    def action_sort(self) -> None:
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self._show()

    def action_reverse(self) -> None:
        self._backwards = not self._backwards
        self._show()

    def action_filter(self) -> None:
        self.screen.add_class("filtering")
        self.query_one("#filter", Input).focus()

    def action_clear(self) -> None:
        self.query_one("#filter", Input).value = ""
        self._end_filtering()

    def action_panel(self) -> None:
        self._panel = PANELS[(PANELS.index(self._panel) + 1) % len(PANELS)]
        self._show()

    def action_move(self, rows: int) -> None:
        self._table.move_cursor(row=self._table.cursor_row + rows)

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one("#feeds", DataTable)

    @property
    def _stands(self) -> bool:
        """Whether all parts of the screen are there: they are taken down before the last message is handled."""
        return len(self.query(", ".join(f"#{part}" for part in _PARTS))) == len(_PARTS)

    def _end_filtering(self) -> None:
        self.screen.remove_class("filtering")
        self._table.focus()
        self._show()

    def _show(self) -> None:
        """Bring everything on the screen up to date."""
        if not self._begun or not self._stands:
            return  # a resize may come first, and a look last
        overview = self._overview
        self.screen.set_class(self.size.height < _LOW, "low")
        self.screen.set_class(self._panel == "nothing", "bare")
        self.screen.set_class(self._away_since is not None, "away")
        self.query_one("#help", Static).update(self._help())
        self.query_one("#head", Static).update(self._head())
        if self._away_since is not None:
            self.query_one("#trouble", Static).update(self._away())
        if overview is None:
            return
        self._findings = find(overview)
        well = is_well(self._findings)
        line = self.query_one("#headline", Static)
        line.set_classes("well" if well else "wrong")
        line.update(Text(headline(overview, self._findings)))
        self._show_feeds(overview)
        self._show_detail()

    def _show_feeds(self, overview: Overview) -> None:
        feeds = arranged(overview.feeds, self._findings, order=self._order, backwards=self._backwards, filter_text=self._filter)
        longest = max((len(feed.label) for feed in overview.feeds), default=0)
        shown = columns(self.size.width, longest)
        table, before = self._table, [feed.id for feed in self._rows]
        chosen = self._chosen()
        self._rows = feeds
        if [(each.title, each.width) for each in shown] != [(each.title, each.width) for each in self._columns]:
            self._columns, before = shown, []
            table.clear(columns=True)
            for column in shown:
                table.add_column(column.head(), width=column.width)
        if before == [feed.id for feed in feeds]:
            for row, feed in enumerate(feeds):
                for at, column in enumerate(shown):
                    table.update_cell_at(Coordinate(row, at), column.cell(feed))
            return
        table.clear()
        for feed in feeds:
            table.add_row(*(column.cell(feed) for column in shown))
        if chosen is not None:
            table.move_cursor(row=next((row for row, feed in enumerate(feeds) if feed.id == chosen.id), 0))

    def _chosen(self) -> FeedView | None:
        row = self._table.cursor_row
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def _show_detail(self) -> None:
        feed, overview = self._chosen(), self._overview
        text = Text("no feed" if not self._filter else f"no feed is called like {self._filter!r}", style="dim")
        if self._panel == "findings":
            text = findings_text(self._findings, self.size.width - 2)
        elif feed is not None and overview is not None:
            queue = next((queue for queue in overview.queues if queue.name == feed.queue), None)
            text = detail(feed, queue, overview.at, self.size.width - 2)
        self.query_one("#detail", Static).update(text)

    def _head(self) -> Text:
        overview = self._overview
        supervisors = sum(each.alive for each in overview.supervisors) if overview is not None else 0
        workers = sum(each.alive for each in overview.workers) if overview is not None else 0
        left = f"{printable(self._where)}  supervisors {supervisors}  workers {workers}"
        right = _clock_time(overview)
        text = Text(left)
        text.truncate(max(0, self.size.width - 3 - len(right)), overflow="ellipsis")
        text.pad_right(max(0, self.size.width - 2 - text.cell_len - len(right)))
        return text.append(right)

    def _away(self) -> Text:
        lasting = duration(self._clock() - (self._away_since or 0.0))
        of = _clock_time(self._overview)
        return Text(f"no answer for {lasting}, trying again (the numbers are of {of}): {printable(self._trouble)}")

    def _help(self) -> Text:
        text = Text(f" only {printable(self._filter)!r} (Esc: all)  " if self._filter else "", style="bold")
        for key, what in _HELP:
            text.append(f" {key} ", style="bold reverse").append(f" {what}", style="not bold")
            if what == "sort":
                text.append(f": {self._order}{' reversed' if self._backwards else ''}", style="not bold")
            text.append("  ")
        return text


def _clock_time(overview: Overview | None) -> str:
    return f"{datetime.fromtimestamp(overview.at, UTC):%H:%M:%SZ}" if overview is not None else "--:--:--"
