"""The lines about one feed."""

from __future__ import annotations

import pytest

from ingest.broker.history import INTERVAL, KEPT, Happening, Point
from ingest.tools.findings import Finding, Severity
from ingest.tools.top.detail import LINES, condensed, detail, findings_text
from ingest.tools.views import FeedView, QueueView
from tests.support.snapshots import NOW

POINTS = [
    Point(at=NOW - number * INTERVAL, state="READY", frames=float(number), depth=number, lag_p99=float(number) or None)
    for number in reversed(range(int(KEPT / INTERVAL)))
]
FEED = FeedView(
    group="blue",
    name="trades",
    state="READY",
    for_seconds=125.0,
    url="wss://example.com/***",
    lead="a:1",
    standbys=["b:2", "c:3"],
    backlog=4,
    lost=5,
    points=POINTS,
    happenings=[Happening(at=NOW, what="lost", detail="IdleTimedOut: nothing\x1b[2J")],
)


def test_the_lines() -> None:
    lines = detail(FEED, QueueView(name="q", depth=12, dead=3, high_watermark=20_000), NOW, 78).plain.splitlines()

    assert len(lines) == LINES
    assert lines[0] == "blue/trades READY for 2 min 5 s  wss://example.com/***"
    assert lines[1] == "lead     a:1  standby b:2, c:3"
    assert lines[2] == "queue    q: 12 of 20,000  dead 3  backlog 4  lost 5"
    assert lines[3].endswith("  max 359/s")
    assert lines[5].endswith("  max 359 ms")
    assert lines[6] == "last     14:13:20Z lost IdleTimedOut: nothing�[2J"


def test_a_feed_of_which_nobody_tells_anything() -> None:
    lines = detail(FeedView(group="", name="trades"), None, NOW, 78).plain.splitlines()

    assert [" ".join(line.split()) for line in lines] == [
        "trades ABSENT for -",
        "lead nobody",
        "queue -",
        "in/s no data yet",
        "depth no data yet",
        "lag p99 no data yet",
        "last -",
    ]


@pytest.mark.parametrize("width", [10, 40, 200])
def test_every_line_fits(width: int) -> None:
    assert all(len(line) <= width for line in detail(FEED, None, NOW, width).plain.splitlines())


def test_an_hour_is_condensed_to_the_largest_of_each_step_with_holes_where_nothing_is_known() -> None:
    kept = [point for point in POINTS if not 900 <= NOW - point.at < 1800]

    assert condensed(kept, lambda point: point.frames, NOW, 4) == [359.0, 269.0, None, 89.0]
    assert condensed(POINTS, lambda point: None, NOW, 3) == [None, None, None]
    assert condensed([Point(at=NOW + 999, state="READY")], lambda point: 1.0, NOW, 3) == [None, None, None]


def test_findings_that_do_not_fit_are_counted() -> None:
    several = [Finding(Severity.WARNING, f"feed{number}", "ails", "helps") for number in range(LINES + 3)]

    lines = findings_text(several, 40).plain.splitlines()

    assert len(lines) == LINES
    assert (lines[0], lines[-1]) == ("feed0: ails: helps", "and 4 more: python -m ingest status")
    assert findings_text([], 40).plain == "nothing is wrong"
