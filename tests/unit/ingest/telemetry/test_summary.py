"""A feed's last seconds in one line."""

from __future__ import annotations

from dataclasses import replace

from ingest.telemetry.summary import FeedNumbers, summary_fields, summary_line

BEFORE = FeedNumbers(
    state="READY", frames=1000, emitted=900, enqueued=900, reconnects=1, last_reason="closed by the server with 1001"
)


def test_a_healthy_feed_is_one_line_of_totals_and_rates() -> None:
    now = replace(BEFORE, frames=4000, emitted=3900, enqueued=3897, backlog=3)

    assert summary_line("trades", BEFORE, now, 30.0) == (
        "feed_summary feed=trades state=READY frames=4000 frames_per_second=100.0 "
        "enqueued=3897 enqueued_per_second=99.9 backlog=3 reconnects=1"
    )


def test_troubles_are_shown_only_where_there_are_any() -> None:
    fields = summary_fields("trades", BEFORE, replace(BEFORE, dropped=2, lost=1), 30.0)

    assert (fields["dropped"], fields["lost"]) == (2, 1)
    assert not {"dropped", "lost", "last_reason"} & summary_fields("trades", BEFORE, BEFORE, 30.0).keys()


def test_the_last_reason_is_shown_after_a_reconnect_and_while_the_feed_is_not_ready() -> None:
    reconnected = replace(BEFORE, reconnects=2)
    waiting = replace(BEFORE, state="BACKING_OFF")

    for now in (reconnected, waiting):
        assert summary_fields("trades", BEFORE, now, 30.0)["last_reason"] == "closed by the server with 1001"


def test_no_time_between_two_lines_is_no_division_by_zero() -> None:
    assert summary_fields("trades", BEFORE, replace(BEFORE, frames=2000), 0.0)["frames_per_second"] == 0.0
