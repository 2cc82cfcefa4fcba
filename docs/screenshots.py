"""Takes the pictures in the docs from a system that really runs: an embedded Valkey, a simulated exchange, supervisors, workers.

The rule: what is shown was measured. ``python docs/screenshots.py --seconds 400`` runs that long and writes ``images/top.svg``,
``images/web-*.png`` and the text in ``status.md``; ``--only web`` writes the page alone. The numbers differ each time, so no
test compares them. Needs a Chromium on the path.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import SecretStr

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))  # the project need not be installed

from ingest.testing import ScriptedConnection, ScriptedServer  # noqa: E402 - only now can they be imported
from ingest.tools.top.app import TopApp  # noqa: E402
from ingest.tools.watching import Watcher  # noqa: E402
from settings.model import BrokerSettings  # noqa: E402
from tests.support.browser import browsing, running_chromium  # noqa: E402
from tests.support.redis_server import running_valkey  # noqa: E402
from tests.support.web import WebProcess  # noqa: E402

#: A feed that the server refuses, beside those of the demonstration.
_REFUSED = """
[feeds.quotes]
url = "{url}/stream?token=a-token-that-ran-out"
actor = "count_trade"
queue = "trades"
fatal_statuses = [403]
"""

PORT = 8799

#: What would have whoever looks at the picture ask a foreign server for fonts.
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def _refuse(client: ScriptedConnection) -> None:
    client.refuse(403)


@contextmanager
def _running(command: list[str], env: dict[str, str], log: Path) -> Iterator[None]:
    """Run a process; it is asked to end."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def take(seconds: float, only: str) -> None:
    """Run the system for so long, and take the pictures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        valkey = stack.enter_context(running_valkey())
        refusing = stack.enter_context(ScriptedServer(_refuse))
        feeds = (ROOT / "examples" / "demo" / "feeds.toml").read_text(encoding="utf-8")
        (folder / "feeds.toml").write_text(feeds + _REFUSED.format(url=refusing.url), encoding="utf-8")
        env = {
            **os.environ,
            "REDIS_URL": valkey.url,
            "FEEDS_FILE": str(folder / "feeds.toml"),
            "PYTHONPATH": str(ROOT),
            "SIMULATOR_URL": f"ws://127.0.0.1:{PORT}/v2",
            "SIMULATOR_SYMBOLS": "BTC/USD,ETH/USD",
        }
        ingest = [sys.executable, "-m", "ingest"]
        workers = [str(Path(sys.executable).parent / "dramatiq"), "workers", "--processes", "1", "--threads", "4"]
        simulator = [*ingest, "simulate", "--port", str(PORT), "--rate", "1000"]
        for command in (simulator, [*ingest, "run"], [*ingest, "run"], workers):
            stack.enter_context(_running(command, env, folder / "log"))
        time.sleep(seconds)
        _page(folder, env)
        if only == "web":
            return
        told = subprocess.run([*ingest, "status"], cwd=ROOT, env=env, capture_output=True, text=True, check=False).stdout
        _put(DOCS / "status.md", told)
        broker = BrokerSettings(url=SecretStr(valkey.url))
        picture = _FONTS.sub("", asyncio.run(_picture(broker)))
        (DOCS / "images" / "top.svg").write_text(picture, encoding="utf-8")


#: Each picture: the page's address, how wide and high, in dark or light.
_SHOTS = {
    "light": ("/", 1280, 760, "light"),
    "dark": ("/feed?group=&name=books", 1280, 760, "dark"),
    "phone": ("/", 375, 760, "light"),
}


def _page(folder: Path, env: dict[str, str]) -> None:
    """Take the pictures of the web page."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no chromium (Debian's package chromium)")
    settings = {name: env[name] for name in ("FEEDS_FILE", "SIMULATOR_URL", "SIMULATOR_SYMBOLS")}
    with WebProcess(folder, env["REDIS_URL"], **settings) as web, running_chromium(chromium) as browser:
        for name, (path, width, height, scheme) in _SHOTS.items():
            with browsing(browser, web.url, viewport={"width": width, "height": height}, color_scheme=scheme) as page:
                page.goto(path)
                page.get_by_text("lag").first.wait_for()
                page.wait_for_timeout(3000)  # until rates are known
                page.locator(".where").evaluate("at => { at.textContent = 'redis://127.0.0.1:6379/0 dramatiq' }")
                page.screenshot(path=DOCS / "images" / f"web-{name}.png")


async def _picture(broker: BrokerSettings) -> str:
    watcher = Watcher(broker, history=True)
    app = TopApp(watcher.look, "redis://127.0.0.1:6379/0 dramatiq", watcher.look())
    async with app.run_test(size=(100, 24)) as pilot:
        await pilot.press("s", "j")  # by name, and the second feed
        for _ in range(4):
            await asyncio.sleep(1)
            await pilot.pause()
        return app.export_screenshot(title="python -m ingest top")


def _put(page: Path, told: str) -> None:
    """Replace what stands between the marks of a page."""
    text = page.read_text(encoding="utf-8")
    shown = "\n".join(line.rstrip() for line in told.splitlines())
    marked = re.compile(r"(<!-- taken: status -->\n).*?(<!-- end -->)", re.DOTALL)
    page.write_text(marked.sub(lambda match: f"{match[1]}\n```text\n{shown}\n```\n\n{match[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take the pictures of the docs.")
    parser.add_argument("--seconds", type=float, default=400.0, help="how long the system runs before")
    parser.add_argument("--only", choices=["web", ""], default="", help="the pictures of the web page alone")
    asked = parser.parse_args()
    take(asked.seconds, asked.only)
