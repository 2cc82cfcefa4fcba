"""What is read of the orders reaches the feeds; an outage changes nothing."""

from __future__ import annotations

from types import SimpleNamespace

from ingest.broker.control import Control
from ingest.broker.keys import Keys
from ingest.service.pause_watch import PauseWatch
from tests.support.redis_server import Valkey


class Runner:
    def __init__(self, name: str) -> None:
        self.settings = SimpleNamespace(name=name)
        self.by: list[str | None] = []

    def hold(self, by: str | None) -> None:
        self.by.append(by)


def test_orders_reach_their_feeds_and_stay_while_redis_is_away(valkey: Valkey) -> None:
    control, runners = Control(valkey.client(), Keys("dramatiq"), ""), [Runner("trades"), Runner("book")]
    watch = PauseWatch(control, runners)  # type: ignore[arg-type]
    control.pause("book", "ann")
    control.pause("gone", "ann")
    assert watch.look()
    valkey.kill()
    assert not watch.look()
    assert [runner.by for runner in runners] == [[None], ["ann"]]
