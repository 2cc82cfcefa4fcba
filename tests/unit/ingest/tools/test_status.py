"""What ``status`` prints, and its JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace

from rich.console import Console

from ingest.tools.overview import Observer
from ingest.tools.status import as_json, json_text, only_feeds, show_status
from ingest.tools.views import Overview
from tests.support.snapshots import NOW, reading, supervisor, worker

TRADES = {"state": "READY", "lease": "leads", "since": NOW - 125, "queue": "q", "frames": 0, "enqueued": 0, "reconnects": 3}
BOOK = {"state": "FAILED", "lease": "none", "queue": "r", "last_reason": "status 403\x1b[2J", "spooled": 7}


def an_overview() -> Overview:
    observer = Observer()
    queues = {"q": {"depth": 12_345, "dead": 2, "high_watermark": 20_000}, "r": {"depth": 0}}
    lag = {"p50": 1.25, "p99": 70.0}
    for second in (0, 1):
        trades = {**TRADES, "frames": 1500 * second, "enqueued": 1400 * second}
        overview = observer.take(
            reading(
                supervisor("a:1:x", at=NOW + second, trades=trades, book=BOOK, queues=queues),
                supervisor("b:2:x", at=NOW + second, trades={"state": "STANDBY", "lease": "stands_by"}),
                worker("w:3:x", at=NOW + second, trades={"processed": 1300 * second, "lag_ms": lag}),
            )
        )
    return overview


def shown(overview: Overview, width: int = 160) -> tuple[list[str], bool]:
    out = io.StringIO()
    well = show_status(overview, Console(file=out, width=width, markup=False, emoji=False, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()], well


def test_everything_in_order() -> None:
    lines, well = shown(an_overview())

    assert not well
    assert lines == [
        "book: FAILED (status 403�[2J) on a:1: check the token; python -m ingest check --connect; then start it again",
        "",
        "feed    state      in/s  queued/s  done/s   depth  lag p50    p99",
        "book    FAILED        0         0       -       0        -      -",
        "trades  READY 2m  1,500     1,400   1,300  12,345   1.2 ms  70 ms",
        "",
        "feed    lead   standby  failed on  reconnects  backlog  on disk  last reason",
        "book    -               a:1                 0        0        7  status 403�[2J",
        "trades  a:1    b:2                          3        0",
        "",
        "queue   depth   limit  growth/s   dead",
        "q      12,345  20,000        +0      2",
        "r           0                +0",
        "",
        "process  kind        state  feeds",
        "a:1      supervisor  runs   book, trades",
        "b:2      supervisor  runs   trades",
        "w:3      worker      runs   trades",
        "",
        "besides",
        "  · book: 7 payloads wait on the disk: they are sent as soon as the queue has room and Redis answers",
        "  · queue q: 2 dead letters: python -m ingest dead-letters list --queue q",
    ]


def test_a_terminal_of_80_columns_cuts_nothing() -> None:
    overview = an_overview()
    trades = replace(overview.feeds[1], state="SLOW_CALLBACK", frames_rate=123_456.0, lead="a-machine-with-a-long-name:123456")
    lines, _ = shown(replace(overview, feeds=[trades]), 80)

    assert all(len(line) <= 80 for line in lines[1:] if not line.startswith("  ·"))
    assert "123,456" in lines[3]
    assert "a-machine-with-a-long-name:123456" in "".join(lines)
    assert "…" not in "".join(lines)


def test_one_feed_alone_comes_with_its_queue() -> None:
    overview = only_feeds(an_overview(), ["trades"])

    assert [feed.name for feed in overview.feeds] == ["trades"]
    assert [queue.name for queue in overview.queues] == ["q"]
    assert shown(overview)[0][0] == "all well: 1 feed, 2 supervisors, 1 worker process"
    assert only_feeds(an_overview(), []) == an_overview()


def test_json_tells_the_same() -> None:
    told = json.loads(json_text(an_overview()))

    assert (told["ok"], told["headline"][:12]) == (False, "book: FAILED")
    assert [finding["severity"] for finding in told["findings"]] == ["error", "notice", "notice"]
    assert {feed["label"]: feed["frames_rate"] for feed in told["feeds"]} == {"book": 0, "trades": 1500}
    assert [process["alive"] for process in (*told["supervisors"], *told["workers"])] == [True, True, True]
    assert as_json(replace(an_overview(), feeds=[]))["feeds"] == []
