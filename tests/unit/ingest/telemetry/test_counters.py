"""What events add up to."""

from __future__ import annotations

from ingest.errors import ClosedByServer, DialFailed, HandshakeRejected
from ingest.events import (
    ConnectionFailed,
    ConnectionLost,
    ConnectionReady,
    Event,
    FeedGaveUp,
    FeedRestarted,
    MessageRejected,
    StateChanged,
)
from ingest.telemetry.counters import CounterSink, FeedTally

FEED = "trades"


def count(*happened: Event) -> CounterSink:
    sink = CounterSink()
    for event in happened:
        sink.handle(event)
    return sink


def test_a_feed_of_which_nothing_is_known_has_zeros() -> None:
    assert count().tally(FEED) == FeedTally()


def test_states_connects_and_endings_add_up() -> None:
    tally = count(
        StateChanged(telemetry_id=FEED, old="IDLE", new="CONNECTING"),
        ConnectionFailed(telemetry_id=FEED, reason=DialFailed("tcp", "refused")),
        ConnectionReady(telemetry_id=FEED, url="wss://example.com"),
        ConnectionLost(telemetry_id=FEED, reason=ClosedByServer(1012, "restart"), lasted=3.0),
        ConnectionReady(telemetry_id=FEED, url="wss://example.com"),
        StateChanged(telemetry_id=FEED, old="BOOTSTRAPPING", new="READY"),
    ).tally(FEED)

    assert tally.state == "READY"
    assert (tally.connects, tally.reconnects) == (2, 1)
    assert tally.endings == {"DialFailed": 1, "ClosedByServer": 1}
    assert tally.last_reason == "closed by the server with 1012 (restart)"
    assert tally.events["connection_ready"] == 2


def test_feeds_are_counted_apart() -> None:
    sink = count(MessageRejected(telemetry_id="a", seq=1, detail="ERR"), MessageRejected(telemetry_id="b", seq=1, detail="ERR"))
    sink.handle(MessageRejected(telemetry_id="a", seq=2, detail="ERR"))

    assert (sink.tally("a").rejected, sink.tally("b").rejected) == (2, 1)


def test_the_last_reason_is_why_the_feed_gave_up_and_holds_no_secret() -> None:
    gave_up = FeedGaveUp(telemetry_id=FEED, reason=HandshakeRejected(302, {"location": "https://x.example/?token=hunter2"}))
    tally = count(FeedRestarted(telemetry_id=FEED, cause=RuntimeError("boom"), delay=1.0), gave_up).tally(FEED)

    assert tally.last_reason is not None
    assert "302" in tally.last_reason
    assert "hunter2" not in tally.last_reason
    assert tally.events["feed_restarted"] == 1


def test_a_tally_does_not_change_after_it_was_taken() -> None:
    sink = count(ConnectionFailed(telemetry_id=FEED, reason=DialFailed("tcp", "refused")))
    before = sink.tally(FEED)

    sink.handle(ConnectionFailed(telemetry_id=FEED, reason=DialFailed("tcp", "refused")))

    assert before.endings == {"DialFailed": 1}
