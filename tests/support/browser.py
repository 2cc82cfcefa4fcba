"""A real Chromium. Without one a test is skipped, and fails in CI.

The rule: nothing waits for a browser for ever. Calls that take a time-out have one; for the others (`Page.evaluate`, closing) a
browser that does not come to an end is killed, whereupon whatever waits for it fails.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

#: Milliseconds for which is waited, also on a busy machine.
TIMEOUT = 60_000

#: Milliseconds that a start may take there.
START_TIMEOUT = 60_000

#: Seconds that a page may be open (below the 240 of a whole test), and that closing the browser may take.
LONGEST = 180.0
LONGEST_CLOSE = 20.0

#: A switch that Chromium does not know, by which the processes that this one started are found.
MARK = f"--started-by={os.getpid()}"


@contextmanager
def running_chromium(path: str) -> Iterator[Browser]:
    """Run a browser, one at a time in this process; it is closed, or else killed, at the end."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", MARK]
        browser = playwright.chromium.launch(executable_path=path, args=arguments, timeout=START_TIMEOUT)
        try:
            yield browser
        finally:
            with _ended_within(LONGEST_CLOSE):
                browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, started once for a module."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing = "there is no chromium (Debian's package chromium)"
        pytest.fail(missing) if "CI" in os.environ else pytest.skip(missing)
    with running_chromium(path) as browser:
        yield browser


@contextmanager
def browsing(browser: Browser, url: str, *, longest: float = LONGEST, but: str = "", **options: Any) -> Iterator[Page]:
    """Open a page; at the end nothing may have been in the browser's console, neither errors nor what a policy forbade.

    ``but`` is part of what may be: a page whose server goes away says so there.
    """
    complaints: list[str] = []
    with _ended_within(longest):
        context = browser.new_context(base_url=url, **options)
        try:
            page = context.new_page()
            page.set_default_timeout(TIMEOUT)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
            page.goto("/")
            yield page
        finally:
            context.close()
    assert [each for each in complaints if not (but and but in each)] == []


@contextmanager
def _ended_within(seconds: float) -> Iterator[None]:
    """Kill the browser if the block is not over by then."""
    timer = threading.Timer(seconds, _kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _kill() -> None:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is somebody else's
            if MARK.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
