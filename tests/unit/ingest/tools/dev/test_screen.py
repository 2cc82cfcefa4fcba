from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from ingest.tools.dev.progress import FeedNumbers
from ingest.tools.dev.screen import Guarded, LiveTable, Plain, fitting, make_screen, printable, summary, table
from tests.support.connections import ManualClock

READY = FeedNumbers(
    "trades", "READY", "q", enqueued=1234, reconnects=1, depth=7, frames_rate=99.6, processed_rate=50.0, lag_p50=3.2, lag_p99=41.0
)
LOST = FeedNumbers("books", "BACKING_OFF", "q", depth=7, last_reason="closed by the server with 1012")


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120, height=30, color_system=None, legacy_windows=False)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines_name_their_origin_and_are_not_wrapped() -> None:
    stream = io.StringIO()
    Plain(stream).line("ingest", "x" * 300)
    assert stream.getvalue() == f"ingest   | {'x' * 300}\n"


def test_plain_numbers_come_once_in_a_while() -> None:
    stream, clock = io.StringIO(), ManualClock()
    screen = Plain(stream, every=5.0, clock=clock)
    for _ in range(11):
        screen.show([READY])
        clock.now += 1.0
    assert stream.getvalue().count("\n") == 2


def test_the_summary_says_every_number_once_and_counts_a_shared_queue_once() -> None:
    assert summary([READY, LOST]) == (
        "ready=1/2 frames/s=100 enqueued=1234 reconnects=1 depth=7 processed/s=50 lag_p50=3 ms lag_p99=41 ms "
        "books=BACKING_OFF (closed by the server with 1012)"
    )


def test_the_summary_of_nothing_is_no_error() -> None:
    assert summary([]).startswith("ready=0/0 ")


def test_the_table_shows_state_rates_counts_and_lag() -> None:
    console = terminal()
    screen = LiveTable(console)
    screen.show([READY, LOST])
    screen.close(["frames=1"])
    text = shown(console)
    for expected in ("frames/s", "depth", "trades", "READY", "100", "1,234", "3 / 41", "BACKING_OFF", "with 1012"):
        assert expected in text
    assert text.endswith("frames=1\n")


def test_the_table_fits_into_80_columns_with_large_numbers() -> None:
    large = replace(READY, enqueued=12_345_678, frames_rate=123_456.0, processed_rate=14_000.0, depth=20_000, lag_p99=12_345.0)
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    console.print(table([large, LOST]))
    lines = shown(console).splitlines()
    [row] = [line for line in lines if "trades" in line]
    assert row.split() == ["trades", "READY", "123,456", "12,345,678", "1", "20,000", "14,000", "3", "/", "12,345"]
    assert "…" not in shown(console)


@pytest.mark.parametrize(
    ("width", "shows", "leaves_out"),
    [(80, "50 3 / 41", "…"), (60, "7 50", "3 / 41"), (40, "1,234 50", "100"), (30, "50", "1,234")],
)
def test_a_narrow_terminal_gets_fewer_columns_and_no_cut_ones(width: int, shows: str, leaves_out: str) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(fitting(console, [READY]))
    [row] = [" ".join(line.split()) for line in shown(console).splitlines() if "READY" in line]
    assert row.startswith("trades READY ")
    assert row.endswith(shows)
    assert leaves_out not in row
    assert "…" not in shown(console)


def test_a_lag_that_is_not_known_has_no_unit() -> None:
    assert "lag_p50=- lag_p99=- " in summary([LOST])


def test_a_stop_that_we_asked_for_needs_no_reason() -> None:
    assert summary([replace(LOST, state="STOPPED", last_reason="stopped")]).endswith(" books=STOPPED")


def test_what_a_process_says_stands_above_the_table_and_cannot_steer_the_terminal() -> None:
    console = terminal()
    screen = LiveTable(console)
    screen.show([READY])
    before = len(shown(console))
    screen.line("ingest", "\x1b[2J[bold]hello[/bold]\r")
    after = shown(console)[before:]
    screen.close(())
    assert "[bold]hello[/bold]" in after, "markup is text"
    assert "\x1b[2J" not in after
    assert after.index("hello") < after.index("trades"), "the table comes again below the line"


def test_control_characters_are_made_visible() -> None:
    assert printable("a\x1b[0m\tb\x00é") == "a�[0m b�é"


def test_a_stream_that_is_no_terminal_gets_plain_lines() -> None:
    assert isinstance(make_screen(io.StringIO()), Plain)


@pytest.mark.parametrize(("term", "kind"), [("xterm", LiveTable), ("dumb", Plain)])
def test_a_terminal_gets_the_table_unless_it_is_dumb(monkeypatch: pytest.MonkeyPatch, term: str, kind: type) -> None:
    monkeypatch.setenv("TERM", term)
    theirs, ours = os.openpty()
    try:
        with open(ours, "w") as stream:
            screen = make_screen(stream)
            screen.close(())
            assert type(screen) is kind
    finally:
        os.close(theirs)


class Failing:
    """A screen whose reader has gone."""

    def line(self, source: str, text: str) -> None:
        raise BrokenPipeError

    def show(self, feeds: Sequence[FeedNumbers]) -> None:
        raise AssertionError("shown after the screen has gone")

    def close(self, last: Sequence[str]) -> None:
        raise AssertionError("closed after the screen has gone")


def test_a_screen_that_goes_away_is_a_wish_to_stop_and_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    gone: list[bool] = []
    kept = os.dup(1)
    try:
        screen = Guarded(Failing(), lambda: gone.append(True))
        screen.line("ingest", "x")
        screen.show([READY])
        screen.close(["last"])
        assert gone == [True]
    finally:
        os.dup2(kept, 1)
        os.close(kept)
