"""Facts for the doctor, made up: all is well but for what a test says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingest.broker.inspection import Depths, Inspection, ServerFacts
from ingest.broker.queues import QueueDepth
from ingest.tools.doctor.facts import Facts, Finding, Machine
from settings import load

FEEDS = "".join(
    f'[feeds.{name}]\nurl = "wss://stream.test/v1"\nactor = "handle"\nqueue = "{name}"\n' for name in ("trades", "book", "ticks")
)


def server(**parts: Any) -> ServerFacts:
    return ServerFacts(**{"name": "Redis", "version": "7.2.4", "equals": (7, 2), "aof": True, **parts})


def inspection(*, of: dict[str, Any] | None = None, **parts: Any) -> Inspection:
    """Return an inspection; ``of`` is of the server."""
    return Inspection(**{"server": server(**(of or {})), "workers": 1, **parts})


def depths(first: int, second: int, *, head: bytes | None = b"a", then: bytes | None = b"a", seconds: float = 1.0) -> Depths:
    return Depths(QueueDepth(first, 0, head), QueueDepth(second, 0, then), seconds)


def facts(folder: Path, text: str = FEEDS, *, redis: Inspection | None = None, **parts: Any) -> Facts:
    """Return facts with the settings of this text."""
    path = folder / "feeds.toml"
    path.write_text(text)
    machine = Machine(**{"files": 1024, "procfile": None, **parts.pop("machine", {})})
    return Facts(settings=load(path, {}), machine=machine, redis=redis, **parts)


def said(findings: Any) -> list[tuple[str, str]]:
    """Return level and text of each finding; what is not well must name a remedy."""
    found: list[Finding] = list(findings)
    assert all(each.remedy for each in found if each.level != "ok"), found
    return [(each.level, each.what) for each in found]
