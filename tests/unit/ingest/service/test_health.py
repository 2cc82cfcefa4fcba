"""What is well and what is not, with the reason; the answers over HTTP are in tests/integration/test_health.py."""

from types import SimpleNamespace

import pytest

from ingest.measures import Pulse
from ingest.service.health import KEEPER_SILENT, MAIN_SILENT, Health
from ingest.telemetry.summary import FeedNumbers
from tests.support.connections import ManualClock


def health(*feeds, trouble="", silence=None, clock=None):
    clock = clock or ManualClock()
    runners = [
        SimpleNamespace(settings=SimpleNamespace(name=f"feed-{at}"), numbers=lambda each=each: each, silence=lambda: silence)
        for at, each in enumerate(feeds)
    ]
    keeper = SimpleNamespace(pulse=Pulse(clock))
    reporter = SimpleNamespace(pulse=Pulse(clock), trouble=lambda: trouble)
    return Health(runners, keeper, reporter, Pulse(clock))


def readiness(**numbers):
    verdict = health(FeedNumbers(**numbers)).ready()
    feed = verdict.details["feeds"]["feed-0"]
    assert verdict.ok == feed["ok"]
    return feed["ok"], feed.get("reason")


def test_ready_connected_blocked_standing_by_and_paused_feeds_are_well():
    assert readiness(state="READY") == (True, None)
    assert readiness(state="BLOCKED") == (True, "the backlog is full: reading waits for room")
    assert readiness(state="STANDBY", lease="stands_by") == (True, "another supervisor leads the feed")
    assert readiness(state="PAUSED") == (True, "paused by an operator")
    assert readiness(state="CONNECTING", paused=True) == (True, "paused by an operator")


@pytest.mark.parametrize(
    "state", ["IDLE", "CONNECTING", "BOOTSTRAPPING", "BACKING_OFF", "SLOW_CALLBACK", "FAILED", "STOPPED", "NEW"]
)
def test_all_other_states_are_not_and_say_why(state):
    ok, reason = readiness(state=state, last_reason="status 503")
    assert not ok
    assert reason.endswith("; last: status 503")


def test_to_stand_by_while_nobody_leads_is_not_right():
    ok, reason = readiness(state="STANDBY", lease="none")
    assert (ok, reason.startswith("nobody leads it")) == (False, True)


def test_one_feed_redis_and_a_stop_make_all_unready():
    assert not health(FeedNumbers(state="READY"), FeedNumbers(state="FAILED")).ready().ok
    away = health(FeedNumbers(state="READY"), trouble="Redis does not answer").ready()
    assert (away.ok, away.details["redis"]) == (False, {"ok": False, "reason": "Redis does not answer"})
    stopping = health()
    stopping.stopping = True
    assert (stopping.ready().ok, stopping.ready().details["reason"]) == (False, "the supervisor is stopping")
    assert health().ready().encode() == b'{"ok": true, "redis": {"ok": true}, "feeds": {}}\n'


def test_life_is_that_every_loop_turns_or_rests():
    clock = ManualClock()
    asked = health(FeedNumbers(), clock=clock)
    clock.now += 1000
    assert asked.live().ok, "nothing has begun yet"
    asked.main.beat()
    asked.keeper.pulse.beat()
    clock.now += MAIN_SILENT
    assert asked.live().ok
    clock.now += 1
    verdict = asked.live()
    assert (verdict.ok, verdict.details["loops"]["main"]) == (False, "has not turned for 11 s")
    assert verdict.details["loops"]["lease"] == "turns"
    asked.main.rest()
    clock.now += KEEPER_SILENT
    loops = asked.live().details["loops"]
    assert (loops["main"], loops["report"], loops["feeds.feed-0"]) == ("turns", "turns", "turns")
    assert loops["lease"].startswith("has not turned for")
    assert not asked.live().ok


def test_a_feed_s_threads_are_asked_too():
    reason = "the reading thread has not turned for 90 s, in on_frame"
    verdict = health(FeedNumbers(), silence=reason).live()
    assert (verdict.ok, verdict.details["loops"]["feeds.feed-0"]) == (False, reason)
