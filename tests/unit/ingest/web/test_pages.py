"""The pages as HTML: everything is escaped, masked and printable, and the parts that live are those of the whole."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from ingest.broker.dead_letter import DeadLetter
from ingest.broker.gaps import GapRecord
from ingest.broker.history import Happening, Point
from ingest.telemetry.masking import hide
from ingest.tools.views import FeedView, Overview, Process, QueueView
from ingest.web.pages import LONGEST, NEWEST, SECTIONS, Pages, clock, letter_fields, said, seen, seen_feed
from ingest.web.poller import Reading
from tests.support.web import text_of

NOW = 1_790_000_000.0
EVIL = "\"><script>alert('x')</script><b onclick=x>\x1b[31m\u202e"

RUNS = Process(kind="supervisor", id="host:7:x", name="host:7", age=0.5)
SHARED = {"reads": True, "session": True, "csrf": "c", "can_act": True, "notice": "", "live": "/events", "here": "index"}


@pytest.fixture(scope="module")
def pages() -> Pages:
    return Pages("redis://here/0 dramatiq")


def feed_of(text: str) -> FeedView:
    return FeedView(
        group=text,
        name=text,
        state=text,
        lead=text,
        standbys=[text],
        url=text,
        actor=text,
        queue=text,
        last_reason=text,
        alive=True,
        points=[Point(at=NOW - 10, state=text, frames=2.0, lag_p99=3.0)],
        happenings=[Happening(at=NOW - 5, what=text, detail=text, where=text)],
    )


def reading_of(feed: FeedView, text: str = "", **more: Any) -> Reading:
    process = Process(kind=text, id=text, name=text, age=1.0, version=text, feeds=[text])
    queue = QueueView(name=text, depth=3, dead=2, growth=-1.0, high_watermark=9)
    overview = Overview(at=NOW, feeds=[feed], queues=[queue], supervisors=[process], workers=[process])
    return Reading(1, overview, **more)


def gap_of(text: str, number: int = 1) -> GapRecord:
    return GapRecord(
        feed=text,
        cause=text,
        from_us=int(NOW * 1e6),
        to_us=int(NOW * 1e6) + number,
        producer=text,
        last_seq=number,
        position={text: text},
        count=3,
        detail=text,
    )


def letter_of(text: str, **parts: Any) -> DeadLetter:
    content = {"args": [text], "kwargs": {text: text}, "options": {"frame": {"feed": text}, "traceback": text}}
    return DeadLetter(
        **{"queue": text, "id": text, "at": NOW, "actor": text, "feed": text, "traceback": text, "content": content} | parts
    )


def all_pages(pages: Pages, text: str) -> list[str]:
    feed = feed_of(text)
    reading = reading_of(feed, text, trouble=text)
    shared = SHARED | {"notice": text}
    found = type("Found", (), {"letters": [letter_of(text)], "more": True, "looked_at": 5})()
    wanted = dict.fromkeys(("queue", "actor", "feed", "exception"), text)
    return [
        pages.whole("index", **shared, **seen(reading)),
        pages.whole("feed", **shared, **seen_feed(reading, feed, [gap_of(text)])),
        pages.whole("letters", **shared, wanted=wanted, found=found),
        pages.whole("letter", **shared, **letter_fields(letter_of(text, problem=text))),
        pages.whole("sure", **shared, wanted=wanted, chosen=[(text, text)]),
        pages.whole("login", **shared, problem=text),
        pages.whole("problem", **shared, title=text, detail=text),
    ]


def test_nothing_that_others_wrote_is_markup_or_moves_the_cursor(pages: Pages) -> None:
    for page in all_pages(pages, EVIL):
        assert re.findall(r"<script[^>]*>", page) == ['<script src="/static/live.js" defer>']
        assert "<b " not in page
        bare = re.sub(r'"[^"]*"', '""', page)
        assert not re.search(r"<[^>]* (on\w+|style)=", bare)  # the policy of the page forbids what is inline
        shown = re.sub(r'value="[^"]*"', "", page)  # what goes back to the server goes back as it is
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_secrets_are_masked_wherever_they_come_from(pages: Pages) -> None:
    hide([SecretStr("hunter2hunter2")])
    text = "at hunter2hunter2 and redis://user:swordfish99@host/0"
    for page in all_pages(pages, text):
        shown = re.sub(r'(value|href|data-live)="[^"]*"', "", page)  # names, by which things are found again
        assert "hunter2" not in text_of(shown)
        assert "swordfish" not in text_of(shown)


@pytest.mark.parametrize("page", ["index", "feed"])
def test_the_parts_that_live_are_those_of_the_whole_page(pages: Pages, page: str) -> None:
    feed = feed_of("trades")
    values = seen_feed(reading_of(feed), feed, [gap_of("lost")]) if page == "feed" else seen(reading_of(feed))
    whole, sections = pages.whole(page, **SHARED, **values), pages.sections(page, **values)
    assert tuple(sections) == SECTIONS[page]
    for name, html in sections.items():
        assert re.search(rf'<(section|div) id="{name}"[^>]*>\s*{re.escape(html.strip())}\s*</(section|div)>', whole), name


def test_a_page_says_that_redis_is_silent_and_of_when_its_numbers_are(pages: Pages) -> None:
    reading = reading_of(feed_of("trades"), trouble="Redis does not answer: refused", silent_for=75.0)
    page = text_of(pages.whole("index", **SHARED, **seen(reading)))
    assert "Redis does not answer: refused" in page
    assert f"no news for 1 min 15 s; what is below is of {clock(NOW)} UTC" in page


def test_what_is_read_aloud_changes_only_with_what_is_wrong(pages: Pages) -> None:
    def spoken(**changes: Any) -> tuple[str, str]:
        overview = Overview(at=NOW, feeds=[replace(feed_of("trades"), state="BACKING_OFF", **changes)], supervisors=[RUNS])
        made = pages.sections("index", **seen(Reading(1, overview)))
        return made["spoken"], made["headline"]

    first, second = spoken(for_seconds=30.0), spoken(for_seconds=31.0)
    assert first[0] == second[0] == "something is wrong: trades/trades"
    assert first[1] != second[1]


def test_before_the_first_look_there_is_a_page_too(pages: Pages) -> None:
    assert "looking for the first time" in pages.whole("index", **SHARED, **seen(Reading()))


def test_strangers_see_neither_where_redis_is_nor_the_way_on(pages: Pages) -> None:
    page = pages.whole("login", **SHARED | {"reads": False, "session": False, "here": "login"}, problem="")
    assert "redis://" not in page
    assert "<nav" not in page


def test_only_the_newest_are_listed() -> None:
    values = seen_feed(reading_of(feed_of("a")), feed_of("a"), [gap_of("a", number) for number in range(1, 200)])
    assert [gap.last_seq for gap in values["gaps"]] == list(range(199, 199 - NEWEST, -1))


@pytest.mark.parametrize("position", [None, 0, "é", [1, {"a": None}]])
def test_a_gap_may_have_any_position(pages: Pages, position: Any) -> None:
    feed = feed_of("trades")
    html = pages.sections("feed", **seen_feed(reading_of(feed), feed, [replace(gap_of("x"), position=position)]))["gaps"]
    assert (str(position) if position is not None else "-") in text_of(html)


def test_what_nobody_can_read_is_shown_as_far_as_it_goes(pages: Pages) -> None:
    deep: Any = []
    for _ in range(200_000):  # deeper than any Python's encoder goes
        deep = [deep]
    letters = [
        letter_of("x", content=None, problem="its content is gone from Redis", traceback=""),
        letter_of("x", content={"args": deep, "kwargs": {}, "options": {}}),
        letter_of("x", at=1e300),
        letter_of("x", at=float("nan")),
    ]
    shown = [pages.whole("letter", **SHARED, **letter_fields(letter)) for letter in letters]
    assert "its content is gone from Redis" in shown[0]
    assert "cannot be shown: RecursionError" in shown[1]


def test_a_long_text_is_cut_but_no_secret_in_two() -> None:
    hide([SecretStr("hunter2hunter2")])
    text = "x" * (LONGEST - 1007) + " " + "y" * 999 + " hunter2hunter2 " + "z" * 50_000
    shown = said(text)
    assert len(shown) < LONGEST + 100
    assert "hunter2" not in shown
    assert shown.endswith(" characters more")


@pytest.mark.parametrize("seconds", [0, None, 1e300, float("inf"), float("nan"), -1e300])
def test_times_that_are_none(seconds: float | None) -> None:
    assert clock(seconds) == "-"
