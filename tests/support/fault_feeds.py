"""The settings that fault tests share: short deadlines, a quick backoff, a queue that is never full unless a test says so."""

from __future__ import annotations

import tomllib
from textwrap import dedent

#: Keys of a feed whose deadlines are short enough for tests; a test's own replace them.
FEED = {
    "actor": '"handle"',
    "queue": '"trades"',
    "open_timeout": "2",
    "ping_interval": "0.5",
    "ping_timeout": "1",
    "retry": "{ initial = 0.05, max = 0.2 }",
}

#: What a test gives in place of these where nothing depends on them and the machine may be busy (`make test` runs many at once):
#: a server or a supervisor that is late then costs no connection.
PATIENT = "open_timeout = 20\nping_timeout = 20\n"

QUEUE = "[queues.trades]\nhigh_watermark = 10_000_000\n"


def feeds_toml(url: str, name: str = "trades", *, extra: str = "", top: str = QUEUE) -> str:
    """Return a settings file with one feed; ``extra`` are its further keys (replacing ours), ``top`` what stands before it."""
    own = dedent(extra)
    replaced = tomllib.loads(own)
    if replaced.get("ping_interval") == 0:
        replaced["ping_timeout"] = None  # it has no meaning without pings
    keys = [f"{key} = {value}" for key, value in FEED.items() if key not in replaced]
    return "\n".join([dedent(top), f"[feeds.{name}]", f'url = "{url}"', *keys, own, ""])
