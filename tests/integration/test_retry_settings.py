"""The ``retry`` table and what is fatal, against servers that flap, refuse and come back."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.connection.retry import Attempt
from ingest.connection.states import State
from ingest.errors import ClosedByServer, HandshakeRejected
from ingest.events import ConnectionReady, FeedGaveUp, RetryScheduled
from ingest.testing import ScriptedServer
from ingest.testing.script import ScriptedConnection
from tests.support.feeds import AT_ONCE, RunningFeed


def end_at_once(client: ScriptedConnection) -> None:
    client.send("x")
    client.close(1012, "restart")


#: Seconds: far more than a connection lasts that ends at once, also on a busy machine.
STABLE_AFTER = 1.5


def end_once_stable(feeds: list[RunningFeed]) -> Any:
    """Return a script that ends when its connection has been ready for longer than `STABLE_AFTER`, as the feed itself tells."""

    def script(client: ScriptedConnection) -> None:
        client.send("x")
        while not client.recording.left and len(feeds[0].of(ConnectionReady)) < client.recording.number:
            client.listen(0.02)
        client.listen(STABLE_AFTER + 0.1)
        client.close(1012, "restart")

    return script


def test_a_server_that_flaps_uses_the_budget_up_though_every_connection_was_ready() -> None:
    retry = {**AT_ONCE, "max_attempts": 3, "stable_after": 30.0}
    with ScriptedServer(end_at_once) as server, RunningFeed(server.url, retry=retry) as feed:
        feed.wait_for(lambda: feed.status.state is State.FAILED, "the end of all attempts")
        assert len(server.recordings) == 4, "the first failure, and three attempts"
    assert len(feed.of(ConnectionReady)) == 4
    assert [event.attempt for event in feed.of(RetryScheduled)] == [1, 2, 3]
    assert isinstance(feed.of(FeedGaveUp)[0].reason, ClosedByServer)


def test_a_server_that_stays_for_stable_after_renews_the_budget_every_time() -> None:
    retry = {**AT_ONCE, "max_attempts": 1, "stable_after": STABLE_AFTER}
    feeds: list[RunningFeed] = []
    scripts = [
        end_once_stable(feeds)
    ] * 2  # with one attempt in a row, the second would be the last if it did not count as stable
    with ScriptedServer(*scripts, end_at_once) as server:
        feeds.append(RunningFeed(server.url, retry=retry))
        with feeds[0] as feed:
            feed.wait_for(lambda: feed.status.state is State.FAILED, "the end, once it flaps")
            assert len(server.recordings) == 3, (
                "two that were stable, each followed by its one attempt, the last of which was not"
            )
    assert [event.attempt for event in feed.of(RetryScheduled)] == [1, 1]


def test_a_connection_that_is_never_ready_is_not_stable_however_long_it_lasts() -> None:
    """What counts is the time since ready: a handshake that is refused after a while renews nothing."""

    def refuse_slowly(client: ScriptedConnection) -> None:
        client.stall(0.3)
        client.refuse(503)

    retry = {**AT_ONCE, "max_attempts": 1, "stable_after": 0.1}
    with ScriptedServer(refuse_slowly) as server, RunningFeed(server.url, retry=retry) as feed:
        feed.wait_for(lambda: feed.status.state is State.FAILED, "the end of all attempts")
        assert len(server.recordings) == 2


def test_the_backoff_begins_anew_after_a_stable_connection_and_goes_on_growing_without() -> None:
    retry = {"initial": 0.01, "max": 1.0, "multiplier": 3.0, "jitter": "none", "stable_after": STABLE_AFTER}
    feeds: list[RunningFeed] = []
    scripts = [end_at_once, end_at_once, end_once_stable(feeds), end_at_once]
    with ScriptedServer(*scripts, lambda client: client.send("last")) as server:
        feeds.append(RunningFeed(server.url, retry=retry))
        with feeds[0] as feed:
            feed.wait_for(lambda: feed.payloads[-1:] == ["last"], "the last connection")
    assert [round(event.delay, 6) for event in feed.of(RetryScheduled)] == [0.01, 0.03, 0.01, 0.03]


def test_full_jitter_spreads_the_waits_between_0_and_the_backoff() -> None:
    retry = {"initial": 0.02, "max": 0.04, "jitter": "full", "max_attempts": 40}
    with ScriptedServer(lambda client: client.refuse(503)) as server, RunningFeed(server.url, retry=retry) as feed:
        feed.wait_for(lambda: feed.status.state is State.FAILED, "the end of all attempts")
    delays = [event.delay for event in feed.of(RetryScheduled)]
    assert len(delays) == 40
    assert all(0 <= delay <= 0.04 for delay in delays)
    assert len(set(delays)) > 30
    assert min(delays) < 0.02 < max(delays)


def test_the_fixed_ten_seconds_of_the_seed_are_the_same_wait_every_time() -> None:
    retry = {"initial": 0.05, "max": 0.05, "jitter": "none", "max_attempts": 5}
    with ScriptedServer(lambda client: client.refuse(503)) as server, RunningFeed(server.url, retry=retry) as feed:
        feed.wait_for(lambda: feed.status.state is State.FAILED, "the end of all attempts")
    assert [event.delay for event in feed.of(RetryScheduled)] == [0.05] * 5


def test_a_function_decides_in_place_of_the_backoff_also_about_what_would_be_fatal() -> None:
    asked: list[Attempt] = []

    def decide(attempt: Attempt) -> float | None:
        asked.append(attempt)
        return 0.01 * attempt.number if len(asked) < 4 else None

    def refuse(status: int, **headers: str) -> Any:
        return lambda client: client.refuse(status, headers={name.replace("_", "-"): text for name, text in headers.items()})

    retry = {"initial": 60.0, "max": 60.0, "stable_after": 0.0}
    scripts = [refuse(404), refuse(503, Retry_After="7"), end_at_once, refuse(410)]
    with ScriptedServer(*scripts) as server, RunningFeed(server.url, retry=retry, retry_function=decide) as feed:
        feed.wait_for(lambda: feed.status.state is State.FAILED, "the stop that the function decides")
    assert [event.delay for event in feed.of(RetryScheduled)] == [0.01, 0.02, 0.01]
    assert [attempt.status for attempt in asked] == [404, 503, None, 410]
    assert [attempt.number for attempt in asked] == [1, 2, 1, 2], "the third connection was ready, and stable"
    assert [attempt.retry_after for attempt in asked] == [None, 7.0, None, None]
    assert [attempt.previous_delay for attempt in asked] == [None, 0.01, None, 0.01]
    assert [attempt.was_ready for attempt in asked] == [False, False, True, False]
    assert asked[1].outage > 0
    assert asked[2].reason == ClosedByServer(1012, "restart")


@pytest.mark.parametrize("fault", [lambda attempt: "soon", lambda attempt: 1 / 0], ids=["no number", "raises"])
def test_a_function_that_fails_is_told_and_the_backoff_decides(fault: Any) -> None:
    retry = {**AT_ONCE, "max_attempts": 2}
    with (
        ScriptedServer(lambda client: client.refuse(503)) as server,
        RunningFeed(server.url, retry=retry, retry_function=fault) as feed,
    ):
        feed.wait_for(lambda: feed.status.state is State.FAILED, "the end of all attempts")
        assert len(server.recordings) == 3
    assert {event.where for event in feed.events if type(event).__name__ == "HandlerFailed"} == {"retry.function"}


@pytest.mark.parametrize(("status", "fatal"), [(503, True), (429, False), (404, False), (301, False)])
def test_classes_of_statuses_that_are_fatal_replace_the_default(status: int, fatal: bool) -> None:
    headers = {"Location": "ws://127.0.0.1:1/"} if status == 301 else {}
    scripts = [lambda client: client.refuse(status, headers=headers), lambda client: client.send("welcome")]
    with ScriptedServer(*scripts) as server, RunningFeed(server.url, fatal_statuses=["5xx"]) as feed:
        feed.wait_for(lambda: feed.status.state is State.FAILED or feed.payloads, "the stop, or the next connection")
    assert (feed.status.state is State.FAILED) == fatal
    if fatal:
        assert isinstance(feed.status.last_reason, HandshakeRejected)


@pytest.mark.parametrize(("code", "fatal"), [(1008, True), (4321, True), (3000, False), (1011, False)])
def test_close_codes_that_are_fatal_by_number_and_by_class(code: int, fatal: bool) -> None:
    scripts = [lambda client: client.close(code, "bye"), lambda client: client.send("welcome")]
    with ScriptedServer(*scripts) as server, RunningFeed(server.url, fatal_close_codes=[1008, "4xxx"]) as feed:
        feed.wait_for(lambda: feed.status.state is State.FAILED or feed.payloads, "the stop, or the next connection")
    assert (feed.status.state is State.FAILED) == fatal
