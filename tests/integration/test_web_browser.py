"""The page in a real Chromium: live, on a phone, dark and light, by keyboard alone, without scripts, and while Redis is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from ingest.broker.gaps import GapRecord, write_gap
from ingest.broker.history import Happening, Point, write_history
from ingest.broker.keys import Keys
from ingest.broker.status import publish_status
from tests.support.browser import TIMEOUT, browsing
from tests.support.dead_letters import bury, dead_message, waiting
from tests.support.fault_feeds import PATIENT, feeds_toml
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess
from tests.support.web import TOKEN, WebProcess

KEYS = Keys("dramatiq")
LONG = "a-name-that-goes-on-and-on-without-a-place-to-break-" * 3

expect.set_options(timeout=TIMEOUT)


def tell(valkey: Valkey, frames: int = 1, **feeds: dict[str, object]) -> None:
    """Write what a supervisor would: two feeds, one with names that are far too long, an hour, gaps and what happened."""
    client, now = valkey.client(), time.time()
    trades = {"state": "READY", "lease": "leads", "queue": "trades", "frames": frames, "since": now, "url": f"wss://h/{LONG}"}
    told = {"trades": trades, LONG: {**trades, "state": "FAILED", "last_reason": LONG}, **feeds}
    queues = {"trades": {"depth": frames, "dead": 0, "high_watermark": 100}, LONG: {"depth": 1, "dead": 1, "high_watermark": 9}}
    publish_status(client, "dramatiq", "supervisor", "host:1:x", {"group": "", "queues": queues, "feeds": told}, final=True)
    for ago in range(3590, 0, -30):
        point = Point(at=now - ago, state="READY", frames=ago % 7 * 100.0, depth=ago % 5, lag_p50=2.0, lag_p99=20.0 + ago % 3)
        write_history(
            client, KEYS, "", {"trades": point}, {"trades": [Happening(at=now - ago, what="lost", detail=LONG, where=LONG)]}
        )
    gap = GapRecord(
        feed="trades",
        cause="lost",
        from_us=int((now - 9) * 1e6),
        to_us=int((now - 5) * 1e6),
        producer="p",
        last_seq=7,
        position={LONG: 1},
        count=3,
        detail=LONG,
    )
    write_gap(client, KEYS, "", gap)


@pytest.fixture
def web(tmp_path: Path, shared_valkey: Valkey) -> Iterator[WebProcess]:
    tell(shared_valkey)
    with WebProcess(tmp_path, shared_valkey.url, WEB_TOKEN=TOKEN) as web:
        yield web


def log_in(page: Page) -> None:
    """Log in by keyboard alone."""
    press_until(page, "Log in")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def press_until(page: Page, name: str, most: int = 60) -> None:
    """Press Tab until what has this name has the focus, and can be seen to have it."""
    for _ in range(most):
        page.keyboard.press("Tab")
        told = page.evaluate(
            "() => { const at = document.activeElement, style = getComputedStyle(at);"
            " return [at.ariaLabel || at.textContent.trim() || at.name || '', style.outlineStyle] }"
        )
        if told[0].startswith(name):
            assert told[1] == "solid"
            return
    raise AssertionError(f"{name!r} is not reached by Tab")


def width_of(page: Page) -> int:
    return int(page.evaluate("() => document.documentElement.scrollWidth"))


def test_a_real_feed_live_paused_and_resumed_by_keyboard(chromium: Browser, tmp_path: Path, shared_valkey: Valkey) -> None:
    with (
        numbered_server(NumberedStream(50)) as server,
        WebProcess(tmp_path, shared_valkey.url, WEB_TOKEN=TOKEN) as web,
        SupervisorProcess(tmp_path, feeds_toml(server.url, extra=PATIENT), shared_valkey.url),
        browsing(chromium, web.url) as page,
    ):
        expect(page.get_by_role("row", name="trades READY")).to_be_visible()
        depth = page.locator("#queues td[data-label=depth]")
        before = depth.inner_text()
        expect(depth).not_to_have_text(before)  # nobody loaded the page anew
        log_in(page)
        press_until(page, "trades")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="trades")).to_be_visible()
        press_until(page, "Pause")
        page.keyboard.press("Enter")
        expect(page.get_by_text("trades paused:")).to_be_visible()
        expect(page.locator("#state .state")).to_have_text("PAUSED")
        expect(page.locator("#headline")).to_contain_text("trades: paused by an operator")
        press_until(page, "Resume")
        page.keyboard.press("Enter")
        expect(page.locator("#state .state")).to_have_text("READY")
        expect(page.locator("#headline")).not_to_contain_text("paused")
        expect(page.locator("#gaps")).to_contain_text("paused")


def test_it_fits_a_phone_in_dark_and_light_and_works_without_scripts(
    chromium: Browser, web: WebProcess, shared_valkey: Valkey
) -> None:
    bury(shared_valkey.client(), [(time.time(), dead_message(1, error=f"ValueError: {LONG}"))])
    colours = []
    for scheme in ("light", "dark"):
        phone = {"viewport": {"width": 375, "height": 700}, "color_scheme": scheme, "java_script_enabled": scheme == "light"}
        with browsing(chromium, web.url, **phone) as page:
            for path in ("/", "/feed?group=&name=trades", "/dead-letters", "/dead-letter?queue=trades&id=dead-000001", "/login"):
                page.goto(path)
                if scheme == "light":
                    assert width_of(page) == 375, path
                    colours += page.evaluate("() => [getComputedStyle(document.body).backgroundColor]") if path == "/" else []
            page.goto("/feed?group=&name=trades")
            expect(page.get_by_role("img", name="rate, last 59 min")).to_be_visible()
            assert page.locator("polyline").count() == 3
    with browsing(chromium, web.url, color_scheme="dark", viewport={"width": 1201, "height": 700}) as page:
        assert width_of(page) == 1201  # the narrowest that has tables
        colours += page.evaluate("() => [getComputedStyle(document.body).backgroundColor]")
        assert colours == ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]
        contrast = page.evaluate("() => getComputedStyle(document.querySelector('.state.good, .state.quiet')).color")
        assert contrast != "rgb(13, 17, 23)"


#: Where things are, at one moment each: a section that is written anew meanwhile has no box of its own.
_BOXES = [
    f"() => document.querySelector('{selector}').getBoundingClientRect().toJSON()"
    for selector in ("#feeds thead th:last-child", "#queues", "#processes")
]


@pytest.mark.parametrize("width", [1280, 1600])
def test_a_desktops_width_is_used(chromium: Browser, web: WebProcess, width: int) -> None:
    with browsing(chromium, web.url, viewport={"width": width, "height": 900}) as page:
        assert width_of(page) == width
        reason, queues, processes = map(page.evaluate, _BOXES)
        assert reason["width"] > 250  # a sentence in two lines at most
        assert queues["y"] == processes["y"]
        assert queues["right"] < processes["x"]
        assert processes["right"] > width - 40


def test_a_dead_letter_is_retried_by_keyboard_alone(chromium: Browser, web: WebProcess, shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    bury(client, [(time.time() - 10 + n, dead_message(n)) for n in range(3)])
    with browsing(chromium, web.url) as page:
        log_in(page)
        press_until(page, "Dead letters")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Dead letters")).to_be_visible()
        press_until(page, "choose handle")
        page.keyboard.press("Space")
        press_until(page, "Retry the chosen")
        page.keyboard.press("Enter")
        expect(page.get_by_text("1 dead letter put back into their queues")).to_be_visible()
        assert [message["args"] for message in waiting(client)] == [["payload 0"]]
        press_until(page, "choose handle")
        page.keyboard.press("Space")
        press_until(page, "Delete the chosen")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Delete 1 dead letter?")).to_be_visible()
        press_until(page, "Delete")
        page.keyboard.press("Enter")
        expect(page.get_by_text("1 dead letter deleted")).to_be_visible()
        assert client.zcard("dramatiq:trades.XQ") == 1
        press_until(page, "Log out")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Token")).to_be_focused()


def test_redis_goes_and_comes_back_and_so_does_the_server(chromium: Browser, tmp_path: Path, valkey: Valkey) -> None:
    tell(valkey)
    with WebProcess(tmp_path, valkey.url) as web, browsing(chromium, web.url, but="net::ERR_") as page:
        expect(page.locator("#feeds")).to_contain_text("trades")
        page.locator("#feeds a").first.focus()
        valkey.kill()
        expect(page.locator("#headline")).to_contain_text("Redis does not answer")
        expect(page.locator("#when")).to_contain_text("what is below is of")
        expect(page.locator("#feeds table")).to_have_class("stale")
        valkey.start()
        tell(valkey, book={"state": "READY", "frames": 1})
        expect(page.locator("#feeds")).to_contain_text("book")
        expect(page.locator("#headline")).not_to_contain_text("Redis does not answer")
        assert page.evaluate("() => document.activeElement.tagName") == "A"  # the focus stayed through it all
        expect(page.locator("#connection")).to_be_hidden()
        web.stop()
        expect(page.locator("#connection")).to_be_visible()


def test_a_browser_that_hangs_is_ended_and_the_test_with_it(chromium: Browser, web: WebProcess) -> None:
    """The last in this file: it leaves no browser."""
    with pytest.raises(Error), browsing(chromium, web.url, longest=5.0) as page:
        page.evaluate("() => { for (;;); }")
    assert not chromium.is_connected()
