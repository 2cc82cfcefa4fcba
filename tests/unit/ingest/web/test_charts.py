"""The last hour as pictures."""

from __future__ import annotations

import pytest

from ingest.broker.history import KEPT, Point
from ingest.web.charts import HEIGHT, HOLE, SHORTEST, WIDTH, charts

NOW = 1_790_000_000.0


def points(*told: tuple[float, float], **more: float) -> list[Point]:
    """Return points of (seconds ago, frames per second)."""
    return [Point(at=NOW - ago, state="READY", frames=frames, **more) for ago, frames in told]  # type: ignore[arg-type]


def drawn(line: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (each.split(",") for each in line.split())]


def test_nothing_told_is_no_picture() -> None:
    assert charts([], NOW) == []
    assert charts(points((KEPT + 1, 5)), NOW) == []


def test_an_hour_goes_from_left_to_right_and_the_peak_to_the_top() -> None:
    rate = charts(points((KEPT, 0), (KEPT - 10, 50), (KEPT - 20, 100)), NOW)[0]
    [line] = rate.lines
    assert drawn(line)[0] == (0.0, HEIGHT - 1)
    assert drawn(line)[2][1] == 1.0
    assert (rate.newest, rate.peak) == ("100", "100")
    assert rate.words == "rate, last 1 h: now 100 frames/s, between 0 and 100"


def test_the_newest_is_at_the_right_also_when_its_clock_is_ahead() -> None:
    [line] = charts(points((10, 1), (-30, 1)), NOW)[0].lines
    assert drawn(line)[-1][0] == WIDTH


def test_a_history_that_has_just_begun_is_not_a_stroke_at_the_edge() -> None:
    rate = charts(points((600, 1), (590, 2), (580, 3)), NOW)[0]
    assert drawn(rate.lines[0])[0][0] == 0.0
    assert rate.words.startswith("rate, last 10 min: ")
    young = charts(points((20, 1), (10, 2)), NOW)[0]
    assert young.words.startswith("rate, last 5 min: ")
    assert drawn(young.lines[0])[0][0] == pytest.approx(WIDTH * (1 - 20 / SHORTEST))


def test_where_nobody_told_anything_the_line_has_a_hole() -> None:
    rate = charts(points((300, 1), (290, 2), (290 - HOLE - 1, 3)), NOW)[0]
    assert len(rate.lines) == 2
    assert len(drawn(rate.lines[1])) == 2  # one point alone would not be seen


def test_a_lag_that_no_worker_tells_is_no_picture() -> None:
    assert [chart.title for chart in charts(points((10, 1)), NOW)] == ["rate", "depth"]
    with_lag = charts(points((10, 1), lag_p99=12.25), NOW)
    assert [(chart.title, chart.newest) for chart in with_lag][2] == ("lag p99", "12 ms")


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0"), (0.25, "0.2"), (9.5, "9.5"), (12345.6, "12,346")])
def test_numbers_in_words(value: float, shown: str) -> None:
    assert charts(points((10, value)), NOW)[0].newest == shown
