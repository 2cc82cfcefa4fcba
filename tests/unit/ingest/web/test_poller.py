"""One look for everybody: what is told while Redis is away, and when it is back."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ingest.errors import BrokerUnreachable
from ingest.tools.views import Overview
from ingest.web.poller import Poller


class Watcher:
    """Looks at what a test says: values are returned, exceptions raised."""

    def __init__(self, *told: Any) -> None:
        self.told = list(told)

    def look(self) -> Any:
        found = self.told.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_redis_that_goes_away_leaves_the_last_numbers_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Overview(at=1.0), Overview(at=2.0)
    gone = BrokerUnreachable("Error 111 connecting to redis://u:hunter2hunter@h:1")
    clock, changes = Clock(), []
    poller = Poller(Watcher(first, gone, gone, second), clock=clock)  # type: ignore[arg-type]
    poller.changed = lambda: changes.append(poller.latest.version)
    with caplog.at_level(logging.INFO, "dramatiq_websocket"):
        for clock.now in (0.0, 1.0, 5.0, 6.0):
            poller.look()
            if clock.now == 5.0:
                assert poller.latest.overview is first
                assert poller.latest.silent_for == 5.0
                assert poller.latest.trouble.startswith("Redis does not answer: Redis is unreachable")
                assert "hunter2" not in poller.latest.trouble
    assert (poller.latest.overview, poller.latest.trouble, changes) == (second, "", [1, 2, 3, 4])
    assert [record.message for record in caplog.records] == ["web_redis_silent", "web_redis_answers"]


def test_a_redis_that_is_away_from_the_beginning_is_said() -> None:
    poller = Poller(Watcher(BrokerUnreachable("no")))  # type: ignore[arg-type]
    poller.look()
    assert poller.latest.overview is None
    assert "Redis does not answer" in poller.latest.trouble


def test_a_bug_is_said_and_logged_and_the_next_look_tries_anew(caplog: pytest.LogCaptureFixture) -> None:
    poller = Poller(Watcher(KeyError("hidden"), Overview(at=1.0)))  # type: ignore[arg-type]
    poller.look()
    assert poller.latest.trouble == "what Redis holds cannot be shown: KeyError"
    assert caplog.records[0].exc_info
    poller.look()
    assert poller.latest.trouble == ""
