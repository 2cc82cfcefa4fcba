"""The commands that look at the whole system through Redis: ``status`` and ``top``.

The rule: they only read; what is wrong with the way to Redis is one line that says where and what helps, and exit code 2.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ingest.broker.clients import UnusableURL, public_url
from ingest.errors import BrokerAuthFailed, BrokerError, BrokerUnreachable
from ingest.service.check import make_console
from ingest.telemetry.masking import hide_secrets_of
from ingest.tools.findings import find, is_well
from ingest.tools.status import json_text, only_feeds, show_status
from ingest.tools.views import Overview
from ingest.tools.watching import Watcher
from settings import Settings, SettingsError, load
from settings.problems import Problem

#: Seconds for which ``status`` waits for every process to tell of itself twice.
PATIENCE = 2.5


def look_settings(path: Path | None) -> Settings:
    """Return the settings, of the environment alone where there is no file; raises `SettingsError`."""
    settings = load(path, spools=False, needed=False)
    hide_secrets_of(settings)
    return settings


def make_watcher(settings: Settings, *, history: bool = False) -> Watcher:
    """Return who looks; the feeds of the settings are expected to run. `SettingsError` where the URL of Redis cannot be used."""
    try:
        return Watcher(settings.broker, [(settings.supervisor.group, name) for name in settings.feeds], history=history)
    except UnusableURL as error:
        raise SettingsError([Problem("broker.url", str(error))]) from None


def run_status(settings: Settings, feeds: Sequence[str], *, as_json: bool) -> int:
    """Print the status; return the exit code: 0 all well, 1 something wrong, 2 Redis does not answer or a feed is unknown."""
    with closing(make_watcher(settings)) as watcher:
        try:
            overview = watcher.settled(PATIENCE)
        except BrokerError as error:
            print(unreachable(settings, error), file=sys.stderr)
            return 2
    problem = unknown(overview, feeds)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    overview = only_feeds(overview, feeds)
    if not as_json:
        return 0 if show_status(overview, make_console(sys.stdout)) else 1
    print(json_text(overview))
    return 0 if is_well(find(overview)) else 1


def run_top(settings: Settings, feeds: Sequence[str]) -> int:
    """Run the live screen until it is left; return the exit code: 0, or 2 where it cannot begin."""
    problem = _no_screen()
    if problem:
        print(problem, file=sys.stderr)
        return 2
    from ingest.tools.top.app import TopApp  # only now: it imports what the extra brings

    watcher = make_watcher(settings, history=True)  # closed with the process: its thread may be in the midst of a look
    try:
        first = watcher.look()
    except BrokerError as error:
        print(unreachable(settings, error), file=sys.stderr)
        return 2
    problem = unknown(first, feeds)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    where = f"{public_url(settings.broker.url.get_secret_value())} {settings.broker.namespace}"
    app = TopApp(lambda: only_feeds(watcher.look(), feeds), where, only_feeds(first, feeds))
    app.run(mouse=False)  # so that text can be marked and copied as anywhere else
    return app.return_code or 0


def _no_screen() -> str:
    """Return why there can be no live screen here; "" where there can."""
    instead = "use python -m ingest status"
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return f"top needs a terminal; {instead}"
    if importlib.util.find_spec("textual") is None:
        return f"not installed: textual. `top` needs the extra: pip install 'dramatiq-websocket[top]'; or {instead}"
    return ""


def unreachable(settings: Settings, error: BrokerError) -> str:
    """Return in one line that Redis does not answer, where, and what to look at."""
    where = "[broker] url of the feeds file, or REDIS_URL"
    match error:
        case BrokerAuthFailed():
            remedy = f"check user and password in the {where}"
        case BrokerUnreachable():
            remedy = f"check that it runs, and the {where}"
        case _:
            remedy = f"check the {where}"
    return f"{public_url(settings.broker.url.get_secret_value())}: {str(error).rstrip('.')}; {remedy}"


def unknown(overview: Overview, feeds: Sequence[str]) -> str:
    """Return in one line that feeds are not known, with the nearest that is; "" where all are."""
    known = list(dict.fromkeys(feed.name for feed in overview.feeds))
    for name in feeds:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            there = f"there are {', '.join(known)}" if known else "nobody tells of any: start python -m ingest run"
            return f"--feed {name}: there is no such feed; " + (f"did you mean {near[0]}?" if near else there)
    return ""
