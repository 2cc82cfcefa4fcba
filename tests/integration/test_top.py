"""The live screen over a real Valkey: by textual's own pilot, and in a real terminal while Redis goes and comes back."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from textual.pilot import Pilot

from ingest.broker.history import Point, write_history
from ingest.broker.keys import Keys
from ingest.broker.status import publish_status
from ingest.tools.top.app import TopApp
from ingest.tools.watching import Watcher
from settings.model import BrokerSettings
from tests.support.command_line import ROOT, run_command
from tests.support.fault_feeds import PATIENT, feeds_toml
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess
from tests.support.terminals import Terminal
from tests.support.waiting import wait_until

Test = Callable[..., Coroutine[Any, Any, None]]


def in_loop(test: Test) -> Callable[..., None]:
    """Run a test's coroutine in an event loop of its own."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def tell(valkey: Valkey, **feeds: Any) -> None:
    """Write a supervisor's snapshot, as it does itself."""
    queues = {"q": {"depth": 12, "dead": 0, "high_watermark": 100}}
    head = {"group": "", "queues": queues}
    told = {name: {"state": "READY", "lease": "leads", "queue": "q", "frames": 0, **numbers} for name, numbers in feeds.items()}
    client = valkey.client()
    publish_status(client, "ns", "supervisor", "host:1:x", {**head, "feeds": told})
    client.pexpire("ns:__status__.supervisor.host:1:x", 120_000)  # as fresh for as long as a test may take


def lines_of(app: TopApp) -> list[str]:
    """Return what stands on the screen, line by line."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip).rstrip() for strip in strips]


def text_of(app: TopApp) -> str:
    return "\n".join(lines_of(app))


def names_of(app: TopApp) -> list[str]:
    """Return the feeds in the order of the table."""
    return [feed.name for feed in app._rows]


async def until(pilot: Pilot[None], app: TopApp, condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Wait for a condition without holding up the screen."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout:g} s: {what}\n{text_of(app)}"
        await pilot.pause(0.02)


@asynccontextmanager
async def top(valkey: Valkey, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[TopApp, Pilot[None]]]:
    watcher = Watcher(BrokerSettings(url=SecretStr(valkey.url), namespace="ns"), history=True)
    app = TopApp(watcher.look, "redis://here/0 ns", watcher.look(), interval=0.05)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot


@in_loop
async def test_at_80_by_24_everything_has_its_place(valkey: Valkey) -> None:
    tell(valkey, trades={"frames": 100}, book={"state": "FAILED", "lease": "none", "last_reason": "status 403"})
    write_history(valkey.client(), Keys("ns"), "", {"trades": Point(at=1.0, state="READY", frames=5.0)}, {})

    async with top(valkey) as (app, _):
        lines = lines_of(app)

    assert len(lines) == 24
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith(" redis://here/0 ns  supervisors 1  workers 0")
    assert lines[1].startswith(" book: FAILED (status 403) on host:1: check the token; python -m ingest check")
    assert lines[3].split() == ["feed", "state", "in/s", "done/s", "depth", "lag", "p99", "reconn.", "in/s", "2", "min"]
    assert [line.split()[:2] for line in lines[4:6]] == [["book", "FAILED"], ["trades", "READY"]]
    assert lines[16].startswith(" book     FAILED for -")
    assert " ".join(lines[-1].split()) == "s sort: worst r reverse / filter d details q quit"


@in_loop
async def test_it_lives_rates_come_and_feeds_come_and_go(valkey: Valkey) -> None:
    tell(valkey, trades={"frames": 100})

    async with top(valkey) as (app, pilot):
        assert names_of(app) == ["trades"]
        tell(valkey, trades={"frames": 10_000_000}, book={})
        await until(pilot, app, lambda: names_of(app) == ["book", "trades"], "the second feed")
        await until(pilot, app, lambda: (app._rows[1].frames_rate or 0) > 0, "a rate")
        await until(pilot, app, lambda: re.search(r"\d[kM] ", text_of(app)) is not None, "it on the screen")
        tell(valkey, book={})
        await until(pilot, app, lambda: names_of(app) == ["book"], "the first feed to go")


@in_loop
async def test_keys_sort_turn_round_filter_and_show_other_details(valkey: Valkey) -> None:
    feeds = {"trades": {"reconnects": 3}, "book": {"queue": "r"}, "quotes": {"state": "BACKING_OFF"}}
    tell(valkey, **feeds)

    async with top(valkey) as (app, pilot):
        await until(pilot, app, lambda: names_of(app) == ["quotes", "book", "trades"], "the worst first")
        await pilot.press("s")
        await until(pilot, app, lambda: names_of(app) == ["book", "quotes", "trades"], "by name")
        await until(pilot, app, lambda: "sort: name" in lines_of(app)[-1], "the sort in the foot")
        await pilot.press("r")
        await until(pilot, app, lambda: names_of(app) == ["trades", "quotes", "book"], "reversed")
        await until(pilot, app, lambda: "name reversed" in lines_of(app)[-1], "the direction in the foot")

        await pilot.press("slash", *"book")
        await until(pilot, app, lambda: names_of(app) == ["book"], "what is filtered")
        await pilot.press("enter")
        await until(pilot, app, lambda: "only 'book' (Esc: all)" in lines_of(app)[-1], "the filter in the foot")
        await pilot.press("slash", *"zz", "enter")
        await until(pilot, app, lambda: names_of(app) == [], "no feed")
        await until(pilot, app, lambda: "no feed is called like 'zz'" in text_of(app), "the word that none is called so")
        await pilot.press("escape")
        await until(pilot, app, lambda: names_of(app) == ["trades", "quotes", "book"], "all of them again")

        await pilot.press("d")
        tell(valkey, **feeds)  # it may have fallen silent: a busy machine takes its time with keys
        await until(
            pilot, app, lambda: "quotes: not connected on host:1" in "\n".join(lines_of(app)[15:23]), "the second's details"
        )
        await pilot.press("d")
        await until(pilot, app, lambda: not app.query_one("#detail").display, "no details")
        await pilot.press("d")
        await until(pilot, app, lambda: app.query_one("#detail").display, "details")


@in_loop
async def test_a_look_that_comes_when_the_screen_is_taken_down_is_let_go(valkey: Valkey) -> None:
    tell(valkey, trades={})

    async with top(valkey) as (app, pilot):
        await app.screen.remove_children()
        app._show()
        await pilot.press("q")

    assert app.return_code == 0


@in_loop
async def test_the_chosen_feed_stays_chosen_when_the_order_changes(valkey: Valkey) -> None:
    tell(valkey, a={}, b={}, c={})

    async with top(valkey) as (app, pilot):
        await pilot.press("down", "j", "k")
        await until(pilot, app, lambda: "b        READY" in text_of(app), "b's details")
        tell(valkey, a={}, b={}, c={"state": "FAILED"})
        await until(pilot, app, lambda: names_of(app) == ["c", "a", "b"], "the other order")
        await until(pilot, app, lambda: "b        READY" in text_of(app), "b's details")
        assert app._table.cursor_row == 2


@in_loop
async def test_it_follows_the_terminal_s_size(valkey: Valkey) -> None:
    tell(valkey, trades={})

    async with top(valkey, (140, 30)) as (app, pilot):
        assert "lead" in lines_of(app)[2]
        await pilot.resize_terminal(40, 10)
        await until(pilot, app, lambda: "done/s" not in text_of(app), "fewer columns")
        assert all(len(line) <= 40 for line in lines_of(app))
        assert "trades" in text_of(app)
        assert not app.query_one("#detail").display
        await pilot.resize_terminal(80, 24)
        await until(pilot, app, lambda: "done/s" in text_of(app) and app.query_one("#detail").display, "all of it again")


@in_loop
async def test_a_redis_that_goes_away_is_told_of_and_comes_back_by_itself(valkey: Valkey) -> None:
    tell(valkey, trades={"state": "READY"})

    async with top(valkey) as (app, pilot):
        valkey.kill()
        await until(pilot, app, lambda: " s, trying again" in text_of(app), "the word that Redis is away")
        assert "Redis is unreachable" in " ".join(text_of(app).split())
        assert "trades" in text_of(app)
        await pilot.press("s")
        assert "sort: name" in text_of(app)  # it is alive meanwhile
        valkey.start()
        tell(valkey, trades={"state": "BLOCKED"})
        await until(pilot, app, lambda: "no answer" not in text_of(app) and "BLOCKED" in text_of(app), "the new state")


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
def test_it_is_left_by(key: str, valkey: Valkey) -> None:
    @in_loop
    async def leave() -> None:
        async with top(valkey) as (app, pilot):
            await pilot.press(key)
            await until(pilot, app, lambda: app._exit, "the end")
        assert app.return_code == 0

    leave()


@in_loop
async def test_a_fault_of_ours_ends_it_with_a_word(valkey: Valkey) -> None:
    def look() -> Any:
        raise RuntimeError("a fault")

    app = TopApp(look, "here", interval=0.05)
    with pytest.raises(RuntimeError, match="a fault"):
        async with app.run_test() as pilot:
            await until(pilot, app, lambda: bool(app.return_code), "the end")


def test_in_a_real_terminal_with_a_real_supervisor_while_redis_dies_and_returns(tmp_path: Path, valkey: Valkey) -> None:
    environ = {**os.environ, "REDIS_URL": valkey.url, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "FEEDS_FILE": ""}
    with (
        numbered_server(NumberedStream(100)) as server,
        SupervisorProcess(tmp_path, feeds_toml(server.url, extra=PATIENT), valkey.url) as supervisor,
    ):
        supervisor.wait_for_log("connection_ready")
        wait_until(lambda: valkey.client().exists("dramatiq:__status__"), 60, "the first snapshot")
        screen = Terminal([sys.executable, "-m", "ingest", "top"], tmp_path, environ, size=(80, 24))
        try:
            screen.until("trades", 30)
            screen.until("READY", 30)
            valkey.kill()
            screen.until("no answer for", 30)
            screen.forget()
            screen.until("no answer for", 30)  # it goes on telling
            valkey.start()
            screen.forget()
            screen.until("READY", 30)
            screen.forget()
            screen.resize(50, 12)
            screen.until("trades", 30)
            screen.type("q")
            assert screen.ended(20) == 0
            assert "Traceback" not in screen.shown
            assert "\x1b[?1049l" in screen.shown  # the terminal is as it was
        finally:
            screen.close()


@pytest.mark.parametrize("way", ["ctrl-c", "sigterm"])
def test_ctrl_c_and_sigterm_give_the_terminal_back(tmp_path: Path, shared_valkey: Valkey, way: str) -> None:
    environ = {**os.environ, "REDIS_URL": shared_valkey.url, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "FEEDS_FILE": ""}
    screen = Terminal([sys.executable, "-m", "ingest", "top"], tmp_path, environ, size=(80, 24))
    try:
        screen.until("none runs", 30)
        if way == "ctrl-c":
            screen.type("\x03")
        else:
            screen.process.send_signal(signal.SIGTERM)
        assert screen.ended(20) == 0
        assert "\x1b[?1049l" in screen.shown
    finally:
        screen.close()


def test_without_a_terminal_it_names_status(tmp_path: Path, shared_valkey: Valkey) -> None:
    done = run_command(tmp_path, "top", REDIS_URL=shared_valkey.url)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "top needs a terminal; use python -m ingest status\n"


@pytest.mark.parametrize(
    ("arguments", "url", "program", "says"),
    [
        ((), "unix:///nowhere/none.sock", ("-m", "ingest"), "unix:///nowhere/none.sock: Redis is unreachable: "),
        (("--feed", "trades"), None, ("-m", "ingest"), "--feed trades: there is no such feed; nobody tells of any: start"),
        (
            (),
            None,
            ("-c", "import sys; sys.modules['textual'] = None; from ingest.service.cli import main; main()"),
            "not installed: textual. `top` needs the extra: pip install 'dramatiq-websocket[top]'; or use python -m ingest",
        ),
    ],
    ids=["no Redis", "no such feed", "no textual"],
)
def test_what_keeps_it_from_beginning(
    tmp_path: Path, shared_valkey: Valkey, arguments: tuple[str, ...], url: str | None, program: tuple[str, ...], says: str
) -> None:
    environ = {**os.environ, "REDIS_URL": url or shared_valkey.url, "PYTHONPATH": str(ROOT), "TERM": "xterm", "FEEDS_FILE": ""}
    screen = Terminal([sys.executable, *program, "top", *arguments], tmp_path, environ, size=(200, 24))
    try:
        assert screen.ended(30) == 2
        assert says in screen.shown
        assert "Traceback" not in screen.shown
    finally:
        screen.close()
