"""Deadlines as arithmetic: what expires when, and what renews it."""

import pytest

from ingest.connection.liveness import Deadlines, Liveness
from ingest.errors import DataTimedOut, IdleTimedOut, PingTimedOut, ReadyTimedOut

INF = float("inf")


def liveness(now: float = 100.0, **limits: float | None) -> Liveness:
    off: dict[str, float | None] = {
        "ready": None,
        "idle": None,
        "data": None,
        "ping_interval": 0.0,
        "ping_timeout": 5.0,
        "heartbeat": None,
    }
    return Liveness(Deadlines(**{**off, **limits}), now)  # type: ignore[arg-type]


def test_with_everything_off_nothing_is_ever_due():
    idle = liveness()
    assert idle.next_at() == INF
    assert idle.expired(1e9) is None
    assert not idle.ping_due(1e9)
    assert not idle.heartbeat_due(1e9)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("idle", IdleTimedOut(7.0)), ("data", DataTimedOut(7.0)), ("ready", ReadyTimedOut(7.0))],
)
def test_a_deadline_expires_at_its_moment_and_not_before(limit, reason):
    watched = liveness(**{limit: 7.0})
    assert watched.next_at() == 107.0
    assert watched.expired(106.9) is None
    assert watched.expired(107.0) == reason


def test_any_frame_is_life_but_only_data_is_data():
    watched = liveness(idle=10.0, data=15.0)
    watched.heard(109.0, data=False)
    assert watched.expired(114.0) is None
    watched.heard(118.0, data=False)
    assert watched.expired(118.0) == DataTimedOut(15.0)
    watched.heard(118.0, data=True)
    assert watched.expired(118.0) is None
    assert watched.next_at() == 128.0


def test_the_ready_deadline_ends_with_ready():
    watched = liveness(ready=3.0)
    watched.readied()
    assert watched.expired(1e9) is None
    assert watched.next_at() == INF


def test_only_the_matching_pong_answers_a_ping():
    watched = liveness(ping_interval=20.0, ping_timeout=5.0)
    assert not watched.ping_due(119.0)
    assert watched.ping_due(120.0)
    watched.ping_sent(b"one", 120.0)
    assert not watched.ping_due(200.0)
    assert watched.pong(b"other", 121.0) is None
    assert watched.expired(125.0) == PingTimedOut(5.0)
    assert watched.pong(b"one", 124.5) == 4.5
    assert watched.expired(125.0) is None
    assert watched.next_at() == 140.0


def test_an_unsolicited_pong_answers_nothing():
    assert liveness(ping_interval=20.0).pong(b"", 101.0) is None


def test_heartbeats_go_on_their_own_interval():
    watched = liveness(heartbeat=10.0)
    assert watched.heartbeat_due(110.0)
    watched.heartbeat_sent(110.5)
    assert not watched.heartbeat_due(120.4)
    assert watched.next_at() == 120.5


def test_while_reading_is_suspended_only_heartbeats_count():
    watched = liveness(idle=5.0, data=5.0, ready=5.0, ping_interval=5.0, ping_timeout=1.0, heartbeat=30.0)
    watched.ping_sent(b"x", 101.0)
    watched.suspend()
    assert watched.expired(1e6) is None
    assert not watched.ping_due(1e6)
    assert watched.next_at() == 130.0


def test_after_a_suspension_every_deadline_starts_anew():
    watched = liveness(idle=5.0, ready=6.0, ping_interval=5.0, ping_timeout=4.0)
    watched.ping_sent(b"x", 101.0)
    watched.suspend()
    watched.resume(500.0)
    assert watched.expired(503.9) is None
    assert watched.expired(504.0) == PingTimedOut(4.0)
    assert watched.pong(b"x", 503.0) == 3.0
    assert watched.expired(505.0) == IdleTimedOut(5.0)
    watched.heard(505.0, data=True)
    assert watched.expired(506.0) == ReadyTimedOut(6.0)
