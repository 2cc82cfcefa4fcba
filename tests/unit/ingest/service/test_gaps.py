"""What the command ``gaps`` makes of its options and of what Redis told."""

from __future__ import annotations

import io
import json

import pytest

from ingest.broker.gaps import GapRecord
from ingest.service.check import make_console
from ingest.service.gaps import json_lines, parse_since, show_gaps
from tests.support.gaps import PRODUCER, START_US, make_record

NOW = 1_790_000_000.0


def shown(*gaps: GapRecord) -> list[str]:
    out = io.StringIO()
    show_gaps(gaps, make_console(out))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60", NOW - 60),
        ("0", NOW),
        ("1.5", NOW - 1.5),
        ("inf", 0),
        ("2026-09-21", 1_789_948_800),
        ("2026-09-21T14:00:00", 1_789_999_200),
        ("2026-09-21T16:00:00+02:00", 1_789_999_200),
        ("2026-09-21T14:00:00Z", 1_789_999_200),
    ],
)
def test_since_is_seconds_back_or_a_time_in_utc(text: str, seconds: float) -> None:
    assert parse_since(text, NOW) == int(seconds * 1_000_000)


@pytest.mark.parametrize("text", ["soon", "", "-5", "nan", "2030-01-01", "2026-13-01"])
def test_since_is_never_in_the_future_nor_anything_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"future|isoformat|month"):
        parse_since(text, NOW)


def test_nothing_is_said_so() -> None:
    assert shown() == ["no gaps"]


def test_a_row_says_when_how_long_and_why_and_empty_columns_are_left_out() -> None:
    head, row = shown(make_record(3))
    assert head.split() == ["feed", "cause", "from", "(UTC)", "to", "(UTC)", "seconds", "last", "seq"]
    assert row.split() == ["trades", "disconnected", "2026-09-21", "14:13:23", "2026-09-21", "14:13:23", "0.5", "3"]


def test_what_is_known_besides_is_shown() -> None:
    row = shown(make_record(1), make_record(2, cause="dropped", count=17, position={"a": 1}, detail="the backlog was full"))[2]
    assert row.split()[6:9] == ["0.5", "17", "2"]
    assert row.endswith('{"a": 1}  the backlog was full')


def test_nothing_from_redis_controls_the_terminal() -> None:
    evil = "\x1b[2J\n[bold]:smile:"
    lines = shown(make_record(1, detail=evil, position=evil, cause=evil, feed=evil))
    assert len(lines) == 2
    assert "\x1b" not in "".join(lines)
    assert "[bold]:smile:" in lines[1]


def test_a_time_that_is_none_is_a_number() -> None:
    assert str(10**30) in shown(make_record(1, from_us=10**30, to_us=10**30))[1]


def test_json_has_everything_and_the_id_of_the_last_message() -> None:
    [line, first] = [json.loads(line) for line in json_lines([make_record(10, position=[1]), make_record(0)])]
    assert line == {
        "message_id": f"{PRODUCER}-00000000000a",
        "feed": "trades",
        "cause": "disconnected",
        "from_us": START_US + 10_000_000,
        "to_us": START_US + 10_500_000,
        "last_seq": 10,
        "producer": PRODUCER,
        "position": [1],
    }
    assert first["message_id"] is None
