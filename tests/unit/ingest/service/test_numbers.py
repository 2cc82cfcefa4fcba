"""The numbers of a feed, as its parts count them."""

from types import SimpleNamespace

from ingest.connection.states import Trigger
from ingest.connection.status import FeedStatus
from ingest.errors import ConnectionDropped
from ingest.events import GapFound
from ingest.service.numbers import FeedReadings, GapTally
from tests.support.backlogs import KeptBacklog
from tests.support.spools import entries


def gap(cause, feed="trades"):
    return GapFound(telemetry_id="label", feed=feed, cause=cause, from_us=0, to_us=1, producer="p", last_seq=0)


def test_gaps_are_counted_by_feed_and_cause():
    tally = GapTally()
    for cause in ("restart", "disconnected", "disconnected"):
        tally.count(gap(cause))
    tally.count(gap("fenced", "books"))
    assert tally.of("trades") == {"restart": 1, "disconnected": 2}
    assert tally.of("books") == {"fenced": 1}
    assert tally.of("unknown") == {}


def test_what_the_parts_know_is_put_together():
    kept = KeptBacklog()
    status = FeedStatus("label", kept.events.append, wall=lambda: 9_000_000)
    status.move(Trigger.DIAL)
    status.frames, status.bytes, status.reconnects, status.round_trip = 7, 700, 3, 0.25
    status.reconnect_reasons.update(ConnectionDropped=2, IdleTimedOut=1)
    status.last_reason = ConnectionDropped("gone from wss://u:secret@host/")
    kept.put(entries(1, 5))
    kept.backlog.refuse(kept.chain, 6, 6, 1, "unencodable")
    kept.backlog.lose(kept.chain, entries(7, 8))
    readings = FeedReadings(
        status,
        SimpleNamespace(total=8),
        kept.backlog,
        kept.losses,
        SimpleNamespace(enqueued=0, messages=0),
        SimpleNamespace(lease="leads", leader="p", is_name_taken=False),
        slow_after=10.0,
        gaps=lambda: {"restart": 1, "disconnected": 2},
        wall=lambda: 3_000_001,
    )

    numbers = readings.read()

    assert (numbers.state, numbers.since) == ("CONNECTING", 9.0)
    assert (numbers.frames, numbers.bytes, numbers.emitted, numbers.ping_rtt) == (7, 700, 8, 0.25)
    assert (numbers.dropped, numbers.drops, numbers.lost) == (1, {"unencodable": 1}, 2)
    assert (numbers.reconnects, numbers.reconnect_reasons) == (3, {"ConnectionDropped": 2, "IdleTimedOut": 1})
    assert (numbers.backlog, numbers.backlog_bytes, numbers.spooled, numbers.spool_bytes) == (5, 50, 0, 0)
    assert (numbers.oldest_age, numbers.lease, numbers.leader, numbers.paused) == (2.0, "leads", "p", False)
    assert (numbers.gaps, numbers.gap_causes) == (3, {"restart": 1, "disconnected": 2})
    assert numbers.last_reason is not None
    assert "secret" not in numbers.last_reason


def test_nothing_that_waits_has_no_age_and_a_clock_that_went_back_none_below_zero():
    kept = KeptBacklog()
    readings = FeedReadings(
        FeedStatus("label", kept.events.append),
        SimpleNamespace(total=0),
        kept.backlog,
        kept.losses,
        SimpleNamespace(enqueued=0, messages=0),
        SimpleNamespace(lease="none", leader="q", is_name_taken=True),
        slow_after=10.0,
        gaps=dict,
        wall=lambda: 5,
    )
    assert readings.read().oldest_age is None
    assert readings.read().name_taken
    kept.put(entries(1, 1))
    assert readings.read().oldest_age == 0.0
