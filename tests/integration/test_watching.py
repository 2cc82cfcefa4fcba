"""Looking at processes through a real Valkey, again and again."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from ingest.broker.history import Happening, Point, write_history
from ingest.broker.keys import Keys
from ingest.broker.status import publish_status
from ingest.errors import BrokerError
from ingest.tools.watching import Watcher
from settings.model import BrokerSettings
from tests.support.redis_server import Valkey


def broker(valkey: Valkey) -> BrokerSettings:
    return BrokerSettings(url=SecretStr(valkey.url), namespace="ns")


def test_it_waits_until_rates_are_known_and_no_longer(shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    frames = iter(range(0, 10_000, 100))

    class Speaking(Watcher):
        """Sees a supervisor that tells of itself between two looks."""

        def look(self):
            publish_status(client, "ns", "supervisor", "a:1:x", {"feeds": {"trades": {"state": "READY", "frames": next(frames)}}})
            return super().look()

    watcher = Speaking(broker(shared_valkey))
    [feed] = watcher.settled(20).feeds
    watcher.close()

    assert feed.frames_rate is not None
    assert feed.frames_rate > 0


def test_who_never_speaks_again_is_waited_for_within_the_time(shared_valkey: Valkey) -> None:
    publish_status(shared_valkey.client(), "ns", "supervisor", "a:1:x", {"feeds": {"trades": {"state": "READY"}}})
    watcher = Watcher(broker(shared_valkey), [("", "book")])

    overview = watcher.settled(0.1)
    watcher.close()

    assert [(feed.name, feed.state, feed.frames_rate) for feed in overview.feeds] == [
        ("book", "ABSENT", None),
        ("trades", "READY", None),
    ]


def test_history_is_read_at_first_then_every_ten_seconds_and_for_a_new_feed(shared_valkey: Valkey) -> None:
    client, seconds = shared_valkey.client(), [0.0]
    watcher = Watcher(broker(shared_valkey), history=True, clock=lambda: seconds[0], wall=lambda: 10_000.0)

    def point(at: float) -> None:
        write_history(
            client, Keys("ns"), "", {"trades": Point(at=at, state="READY")}, {"trades": [Happening(at=at, what="ready")]}
        )

    def seen() -> tuple[int, int]:
        [feed, *_] = [feed for feed in watcher.look().feeds if feed.name == "trades"]
        return len(feed.points), len(feed.happenings)

    publish_status(client, "ns", "supervisor", "a:1:x", {"feeds": {"trades": {"state": "READY"}}})
    point(10_000.0)
    assert seen() == (1, 1)
    point(10_010.0)
    seconds[0] = 9.0
    assert seen() == (1, 1)
    seconds[0] = 10.0
    assert seen() == (2, 2)
    point(10_020.0)
    publish_status(client, "ns", "supervisor", "b:1:x", {"feeds": {"book": {"state": "READY"}}})
    assert seen() == (3, 3)
    watcher.close()


def test_a_redis_that_is_away_is_an_error_and_the_next_look_tries_anew(valkey: Valkey) -> None:
    watcher = Watcher(broker(valkey))
    assert watcher.look().empty

    valkey.stop()
    with pytest.raises(BrokerError):
        watcher.look()
    valkey.start()
    assert watcher.look().empty
    watcher.close()
