"""Connections under the retry policy: what the feed does between them, and how it ends."""

import pytest

from ingest.connection.session import Session
from ingest.connection.states import State
from ingest.errors import ClosedByServer, ConnectionDropped, DialFailed, HandshakeRejected
from tests.support.connections import FeedRig

NO_JITTER = {"initial": 1.0, "max": 8.0, "jitter": "none", "stable_after": 10.0}
REFUSED = DialFailed("tcp", "connection refused")


def test_attempts_go_on_with_backoff_until_stopped():
    rig = FeedRig([REFUSED, REFUSED, REFUSED, REFUSED, REFUSED], retry=NO_JITTER)
    rig.feed_loop.run()
    assert rig.wakeup.waited == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert rig.status.state is State.STOPPED
    assert rig.status.reconnects == 5


def test_accepting_and_closing_at_once_does_not_renew_the_budget():
    rig = FeedRig([[ClosedByServer(1000)]] * 4, retry=NO_JITTER)
    rig.feed_loop.run()
    assert rig.wakeup.waited == [1.0, 2.0, 4.0, 8.0]


def test_a_fatal_status_fails_the_feed_and_says_why():
    rig = FeedRig([HandshakeRejected(404)])
    rig.feed_loop.run()
    assert rig.status.state is State.FAILED
    assert rig.status.last_reason == HandshakeRejected(404)
    assert rig.kinds()[-1] == "FeedGaveUp"


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_are_final_only_where_they_cannot_change(status):
    fixed = FeedRig([HandshakeRejected(status)])
    fixed.feed_loop.run()
    assert fixed.status.state is State.FAILED

    refreshed = FeedRig([HandshakeRejected(status)], session=type("Fresh", (Session,), {"headers": lambda self: {"X": "1"}}))
    refreshed.feed_loop.run()
    assert refreshed.status.state is State.STOPPED


def test_own_fatal_statuses_replace_the_default():
    rig = FeedRig([HandshakeRejected(404), HandshakeRejected(503)], fatal_statuses=("5xx",), retry=NO_JITTER)
    rig.feed_loop.run()
    assert rig.status.last_reason == HandshakeRejected(503)
    assert rig.status.state is State.FAILED


def test_the_retry_function_decides():
    asked = []

    def function(attempt):
        asked.append((attempt.number, attempt.status))
        return None if attempt.number == 3 else 0.125

    rig = FeedRig([HandshakeRejected(404), REFUSED, REFUSED], function=function)
    rig.feed_loop.run()
    assert asked == [(1, 404), (2, None), (3, None)]
    assert rig.wakeup.waited == [0.125, 0.125]
    assert rig.status.state is State.FAILED


def test_a_broken_retry_function_is_told_and_the_default_goes_on():
    rig = FeedRig([REFUSED], function=lambda attempt: "soon", retry=NO_JITTER)
    rig.feed_loop.run()
    assert rig.wakeup.waited == [1.0]
    assert [event.where for event in rig.events if type(event).__name__ == "HandlerFailed"] == ["retry.function"]


def test_there_is_no_attempt_before_the_backlog_has_room():
    rig = FeedRig([[ConnectionDropped("x")]], retry=NO_JITTER)
    rig.sink.room = lambda: rig.clock.now >= 1003.0
    rig.feed_loop.run()
    assert rig.wakeup.waited[:3] == [1.0, None, None]
    blocked = [kind for kind in rig.kinds() if kind in ("FeedBlocked", "FeedUnblocked", "ConnectionReady")]
    assert blocked[:3] == ["FeedBlocked", "FeedUnblocked", "ConnectionReady"]


def test_a_stop_ends_the_wait_between_attempts():
    rig = FeedRig([REFUSED] * 3, retry=NO_JITTER)
    wait = rig.wakeup.wait

    def stopping_wait(timeout):
        rig.stop = True
        return wait(0.0)

    rig.wakeup.wait = stopping_wait
    rig.feed_loop.run()
    assert rig.status.state is State.STOPPED
    assert rig.status.reconnects == 1


def test_after_a_crash_it_can_begin_anew():
    rig = FeedRig([RuntimeError("bug in our loop"), [ConnectionDropped("x")]], retry=NO_JITTER)
    with pytest.raises(RuntimeError):
        rig.feed_loop.run()
    rig.feed_loop.crashed()
    assert rig.status.state is State.IDLE
    rig.feed_loop.run()
    assert rig.status.state is State.STOPPED
