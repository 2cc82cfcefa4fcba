"""What is shown of an event, and what never is."""

from __future__ import annotations

from ingest.errors import FrameHandlerFailed, HandshakeRejected
from ingest.events import ConnectionFailed, ConnectionLost, ConnectionReady, FeedBlocked, GapFound, HandlerFailed, RetryScheduled
from ingest.telemetry.facts import LONGEST_TEXT, event_cause, event_fields, event_name, safe_text


def test_an_event_s_name_is_its_class_s_in_snake_case() -> None:
    assert event_name(ConnectionReady) == "connection_ready"
    assert event_name(FeedBlocked) == "feed_blocked"


def test_fields_begin_with_the_feed_and_leave_the_time_to_the_caller() -> None:
    event = RetryScheduled(telemetry_id="trades", at=1.0, attempt=3, delay=0.123456)

    assert list(event_fields(event).items()) == [("feed", "trades"), ("attempt", 3), ("delay", 0.123)]


def test_a_reason_is_shown_as_its_kind_and_its_text_without_the_servers_headers() -> None:
    reason = HandshakeRejected(status=401, headers={"set-cookie": "session=hunter2"}, body=b"hunter3")
    fields = event_fields(ConnectionFailed(telemetry_id="trades", reason=reason))

    assert fields == {
        "feed": "trades",
        "reason": "HandshakeRejected",
        "detail": "the server answered the upgrade with status 401",
    }


def test_urls_are_masked_wherever_they_stand() -> None:
    ready = ConnectionReady(telemetry_id="trades", url="wss://alice:hunter2@example.com/stream?token=hunter3&level=1")
    failed = HandlerFailed(telemetry_id="trades", where="headers", cause=OSError("GET https://example.com/?key=hunter4 failed"))

    shown = f"{event_fields(ready)} {event_fields(failed)}"

    assert "hunter" not in shown
    assert "example.com/stream" in shown
    assert "failed" in shown


def test_an_exception_is_shown_by_type_and_text_and_given_as_the_cause() -> None:
    cause = KeyError("price")
    event = HandlerFailed(telemetry_id="trades", where="on_frame", cause=cause)

    assert event_fields(event) == {"feed": "trades", "where": "on_frame", "error": "KeyError", "detail": "'price'"}
    assert event_cause(event) is cause


def test_the_cause_inside_a_reason_is_not_told_twice() -> None:
    reason = FrameHandlerFailed(cause=KeyError("price"), detail="KeyError: 'price'")

    assert event_cause(ConnectionLost(telemetry_id="trades", reason=reason, lasted=1.0)) is None


def test_a_gap_is_shown_under_the_telemetry_id_like_everything_else_and_its_position_as_json() -> None:
    gap = GapFound(
        telemetry_id="trades-eu",
        feed="trades",
        cause="disconnected",
        from_us=1,
        to_us=2,
        producer="p",
        last_seq=7,
        position={"BTC/USD": [1, None]},
    )

    assert event_fields(gap) == {
        "feed": "trades-eu",
        "cause": "disconnected",
        "from_us": 1,
        "to_us": 2,
        "producer": "p",
        "last_seq": 7,
        "position": '{"BTC/USD": [1, null]}',
        "count": None,
        "detail": "",
    }
    assert event_cause(gap) is None


def test_a_position_that_is_no_json_is_shown_all_the_same() -> None:
    gap = GapFound(
        telemetry_id="t", feed="t", cause="lost", from_us=1, to_us=2, producer="p", last_seq=7, position={("BTC", "USD"): 1}
    )

    assert event_fields(gap)["position"] == "{('BTC', 'USD'): 1}"


def test_long_texts_are_cut() -> None:
    assert len(safe_text("x" * 10_000)) == LONGEST_TEXT + 1
    assert safe_text("short") == "short"
