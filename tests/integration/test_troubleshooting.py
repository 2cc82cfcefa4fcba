"""The messages that the troubleshooting page quotes are those that the user sees."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.service.check import check
from settings import SettingsError, load
from tests.support.markdown import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"

FEED = '[feeds.trades]\nurl = "ws://127.0.0.1:1/"\nactor = "show"\n'

SESSIONS = """
import dramatiq
from ingest import Session
class Trades(Session):
    def setup(self, symbols): ...
class Other: ...
"""

ACTORS = """
import dramatiq
@dramatiq.actor(queue_name="first")
def show(payload): ...
@dramatiq.actor
def handle_trade(payload): ...
"""

#: What the page quotes ("…" stands for anything), and what provokes it.
PROVOKED = {
    "feeds.toml: line 4, column 9: …": FEED + "queue = frist",
    "unknown key; did you mean …?": FEED + "idle_timout = 5",
    "15000 s is more than an hour …; durations are seconds, did you mean 15?": FEED + "idle_timeout = 15000",
    "a WebSocket URL starts with ws:// or wss://, not https://": FEED.replace("ws://", "https://"),
    "the environment variable STREAM_TOKEN is not set": FEED + 'headers = { A = "${STREAM_TOKEN}" }',
    "there is no module 'myapp' (looked in …)": FEED + 'session = "myapp.sessions:Trades"',
    "the module 'mine.bad' does not import: …, line …": FEED + 'session = "mine.bad:Trades"',
    "the module 'mine.sessions' has no 'Trade'; did you mean Trades?": FEED + 'session = "mine.sessions:Trade"',
    "mine.sessions:Other is the class Other; a subclass of ingest.Session is expected": FEED + 'session = "mine.sessions:Other"',
    "Trades.setup() missing a required argument: 'symbols'": FEED + 'session = "mine.sessions:Trades"',
    "low_watermark (…) must be below high_watermark (…)": FEED + "[queues.q]\nhigh_watermark = 5\nlow_watermark = 6",
    "the header has a value with a line break (CR or LF)": FEED + 'headers = { A = "a\\n" }',
    "there is no folder 'spool': create it, owned by the user that runs the feeds": FEED + 'spool = { directory = "spool" }',
    "max_bytes (…) is below backlog.bytes (…): at a stop the backlog goes to the spool": FEED
    + 'spool = { directory = ".", max_bytes = 2048 }',
    '"disk" needs a spool: set spool.directory': FEED + 'durability = "disk"',
    "there is no readable file 'ca.pem'": FEED + 'tls = { ca_file = "ca.pem" }',
    "the feed sends to 'frist', but the actor 'show' listens on 'first'…": FEED
    + 'queue = "frist"\n[workers]\nactors = ["mine.actors"]',
    "no module of [workers] actors has an actor 'handle_trades'; did you mean 'handle_trade'?": FEED.replace(
        "show", "handle_trades"
    )
    + '[workers]\nactors = ["mine.actors"]',
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a package of the user's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sessions.py").write_text(SESSIONS, encoding="utf-8")
    (tmp_path / "mine" / "actors.py").write_text(ACTORS, encoding="utf-8")
    (tmp_path / "mine" / "bad.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("dramatiq.broker.global_broker", None)  # `check` sets its own
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def test_the_page_quotes_what_workers_say() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Workers do not start")[2]
    quotes = re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)
    sources = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "workers").rglob("*.py")]
    said = [
        node.value for tree in sources for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str
    ]
    assert quotes
    for quote in quotes:
        for fragment in quote.split("…"):
            assert any(fragment.strip() in text for text in said), quote


@pytest.mark.parametrize("quoted", PROVOKED)
def test_the_page_quotes_what_is_said(quoted: str, folder: Path) -> None:
    assert f"`{quoted.replace('mine.', 'myapp.')}`" in PAGE.read_text(encoding="utf-8")
    (folder / "feeds.toml").write_text(PROVOKED[quoted], encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        check(load(Path("feeds.toml"), {}))
    assert re.search(re.escape(quoted).replace("…", ".*"), str(error.value)), str(error.value)
