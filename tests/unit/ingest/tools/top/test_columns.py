"""Which columns fit, and in which order the feeds come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingest.broker.history import Point
from ingest.tools.findings import Finding, Severity
from ingest.tools.top.columns import GAP, MARGIN, ORDERS, arranged, columns
from ingest.tools.views import FeedView

FEED = FeedView(group="", name="trades", state="SLOW_CALLBACK", alive=True, lead="a-host:12345", queue="q")


@pytest.mark.parametrize("width", [30, 50, 80, 100, 140, 200])
@pytest.mark.parametrize("longest", [4, 14, 60])
def test_the_columns_fit_into_the_width_and_each_cell_into_its_column(width: int, longest: int) -> None:
    feed = replace(FEED, name="n" * longest, frames_rate=123_456.7, processed_rate=0.123, depth=9_999_999, lag_p99=99_000.0)

    shown = columns(width, longest)

    assert sum(column.width + GAP for column in shown) + MARGIN <= max(width, 18)
    assert [column.cell(feed).cell_len for column in shown if not column.left] == [
        column.width for column in shown if not column.left
    ]
    assert all(column.cell(feed).cell_len <= column.width for column in shown)


def test_what_is_shown_at_80_columns_and_what_comes_with_more() -> None:
    assert [column.title for column in columns(80, 14)] == ["feed", "state", "in/s", "done/s", "depth", "lag p99", "in/s 2 min"]
    assert {"queued/s", "backlog", "lag p50", "reconn.", "for", "lead"} <= {column.title for column in columns(150, 14)}
    assert [column.title for column in columns(20, 14)] == ["feed"]


def test_cells() -> None:
    points = [Point(at=10.0 * number, state="READY", frames=float(number)) for number in range(20)]
    feed = replace(FEED, state="READY", frames_rate=12_345.0, depth=7, lag_p99=70.0, points=points, for_seconds=61.0)
    cells = {column.title: column.cell(feed).plain for column in columns(200, 6)}

    assert (cells["feed"], cells["state"], cells["in/s"], cells["depth"]) == ("trades", "READY", "12.3k", "    7")
    assert (cells["done/s"], cells["lag p99"], cells["for"]) == ("     -", "  70 ms", "  1m")
    assert cells["in/s 2 min"][-1] == "█"


def test_a_feed_of_a_silent_process_is_not_shown_as_ready() -> None:
    state = next(column for column in columns(80, 6) if column.title == "state")

    assert state.cell(replace(FEED, state="READY", alive=False)).plain == "SILENT"
    assert state.cell(replace(FEED, state="ABSENT", alive=False)).plain == "ABSENT"


FEEDS = [
    replace(FEED, name="a", frames_rate=1.0, processed_rate=None, depth=5, lag_p99=None),
    replace(FEED, name="b", frames_rate=None, processed_rate=9.0, depth=50, lag_p99=2.0),
    replace(FEED, name="c", frames_rate=3.0, processed_rate=1.0, depth=0, lag_p99=9.0, state="READY", queue="other"),
]
FINDINGS = [Finding(Severity.ERROR, "c", "", ""), Finding(Severity.NOTICE, "c", "", ""), Finding(Severity.WARNING, "b", "", "")]


@pytest.mark.parametrize(
    ("order", "names"),
    [("worst", "cba"), ("name", "abc"), ("in/s", "cab"), ("done/s", "bca"), ("depth", "bac"), ("lag", "cba")],
)
def test_orders(order: str, names: str) -> None:
    assert order in ORDERS
    assert "".join(feed.name for feed in arranged(FEEDS, FINDINGS, order=order)) == names
    assert "".join(feed.name for feed in arranged(FEEDS, FINDINGS, order=order, backwards=True)) == names[::-1]


@pytest.mark.parametrize(("text", "names"), [("", "abc"), ("B", "b"), ("ready", "c"), ("OTHER", "c"), ("nothing like it", "")])
def test_the_filter_looks_at_name_state_and_queue(text: str, names: str) -> None:
    feeds = [replace(feed, name=feed.name, state="READY" if feed.name == "c" else "FAILED") for feed in FEEDS]

    assert "".join(feed.name for feed in arranged(feeds, [], order="name", filter_text=text)) == names
