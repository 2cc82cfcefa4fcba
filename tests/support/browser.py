"""A real Chromium. Without one a test is skipped, and fails in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

#: Milliseconds for which is waited, also on a busy machine.
TIMEOUT = 60_000


@contextmanager
def running_chromium(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
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
def browsing(browser: Browser, url: str, *, foreseen: str | None = None, **options: Any) -> Iterator[Page]:
    """Open a page; at the end nothing may have been in the browser's console, neither errors nor what a policy forbade.

    ``foreseen`` is what a complaint may have in it all the same.
    """
    complaints: list[str] = []
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
    assert [complaint for complaint in complaints if foreseen is None or foreseen not in complaint] == []
