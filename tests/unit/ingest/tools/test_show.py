"""Numbers and texts as people read them."""

from __future__ import annotations

import pytest

from ingest.tools.show import brief, brief_duration, duration, lag, printable, rate, size, sparkline


@pytest.mark.parametrize(
    ("seconds", "text", "short"),
    [
        (None, "-", "-"),
        (0.4, "0 s", "0s"),
        (59.9, "59 s", "59s"),
        (60, "1 min", "1m"),
        (125, "2 min 5 s", "2m"),
        (3600, "1 h", "1h"),
        (11_520, "3 h 12 min", "3h"),
        (352_800, "4 d 2 h", "4d"),
    ],
)
def test_durations(seconds: float | None, text: str, short: str) -> None:
    assert (duration(seconds), brief_duration(seconds)) == (text, short)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (7, "7"),
        (0.31, "0.3"),
        (9.94, "9.9"),
        (9.96, "10"),
        (9999, "9999"),
        (9999.6, "10.0k"),
        (12_345, "12.3k"),
        (456_789, "457k"),
        (999_499, "999k"),
        (999_501, "1.0M"),
        (2.5e9, "2.5G"),
        (7e12, "7.0T"),
    ],
)
def test_brief_numbers_have_five_characters_at_most(value: float | None, text: str) -> None:
    assert brief(value) == text
    assert len(text) <= 5


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.0, "0"), (0.26, "0.3"), (12.4, "12"), (1234.4, "1,234")])
def test_rates(value: float | None, text: str) -> None:
    assert rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.84, "0.8 ms"), (25.4, "25 ms"), (999.4, "999 ms"), (1400, "1.4 s"), (120_000, "2 min")]
)
def test_lags(value: float | None, text: str) -> None:
    assert lag(value) == text


@pytest.mark.parametrize(("count", "text"), [(512, "512 B"), (1500, "1.5 kB"), (20e6, "20 MB"), (3e9, "3.0 GB")])
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_bars_stand_between_nothing_and_the_largest_and_only_nothing_is_lowest() -> None:
    assert sparkline([0, 1, 500, 1000], 4) == "▁▂▅█"
    assert sparkline([5, None, 5], 5) == "  █ █"
    assert sparkline([1, 2, 3], 2) == "▆█"
    assert sparkline([0, 0], 2) == "▁▁"
    assert sparkline([], 3) == "   "
    assert sparkline([1], 0) == ""


def test_what_would_move_the_cursor_is_replaced() -> None:
    assert printable("a\x1b[0m\tb\nc\x00é") == "a�[0m b c�é"
