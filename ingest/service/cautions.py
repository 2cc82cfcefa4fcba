"""What is allowed and yet worth a warning, in ``check`` and at every start.

The rule: pure, but for what is passed in; a caution never stops anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from ingest.broker.clients import Server
from ingest.broker.queues import queue_bytes
from settings.model import Settings
from settings.problems import show_path


def settings_warnings(settings: Settings) -> Iterator[str]:
    """Yield what the settings allow themselves."""
    used = {feed.queue for feed in settings.feeds.values()}
    for name in settings.queues:
        if name not in used:
            yield f"queues.{name}: no feed names this queue; only a session's To(queue=…) can use it"
    for name, feed in settings.feeds.items():
        if not feed.tls.verify:
            yield f"{show_path(('feeds', name))}.tls.verify is false: anyone on the way can read and change what comes"
        if feed.durability == "disk" and feed.spool is not None and not feed.spool.persistent:
            yield (
                f'{show_path(("feeds", name))}.durability is "disk", but the spool\'s folder does not outlive the process '
                "(spool.persistent = false): a SIGKILL loses what is in it"
            )


def spool_warnings(settings: Settings, left_over: Callable[[Path, Collection[str]], Mapping[str, int]]) -> Iterator[str]:
    """Yield what waits in the spools' folders for feeds that are not there any more; ``left_over`` looks."""
    folders = {feed.spool.directory for feed in settings.feeds.values() if feed.spool is not None}
    for folder in sorted(folders):
        for name, messages in left_over(Path(folder), settings.feeds).items():
            yield (
                f"{folder} holds {messages} messages of a feed {name}, which these settings do not have, and nobody sends them: "
                f"start a feed of that name once more, or delete its files"
            )


def memory_warnings(settings: Settings, server: Server) -> Iterator[str]:
    """Yield what of Redis's memory settings does not fit the queues."""
    if server.maxmemory and server.maxmemory_policy != "noeviction":
        yield (
            f"Redis evicts keys when it is full (maxmemory-policy {server.maxmemory_policy}), messages among them; "
            "only noeviction is supported"
        )
    for name in queue_names(settings):
        high = settings.queue(name).high_watermark
        if server.maxmemory and queue_bytes(high) > server.maxmemory / 2:
            yield (
                f"queue {name}: full, at {high} messages, it would take about {_mebibytes(queue_bytes(high))} (with frames of "
                f"1 KiB), more than half of Redis's maxmemory ({_mebibytes(server.maxmemory)}): lower its high_watermark"
            )


def queue_names(settings: Settings) -> list[str]:
    """Return every queue that a feed fills or a table describes."""
    return sorted({feed.queue for feed in settings.feeds.values()} | set(settings.queues))


def _mebibytes(count: int) -> str:
    return f"{count / 1024 / 1024:.0f} MiB"
