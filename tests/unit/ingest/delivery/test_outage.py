"""What counts as an outage, and that it is told once."""

from __future__ import annotations

from ingest.delivery.outage import Outage
from ingest.errors import BrokerRefused, BrokerTimedOut, BrokerUnreachable
from ingest.events import BrokerRecovered, BrokerUnavailable, Event

CUT = BrokerUnreachable("reset")


def kinds(events: tuple[Event, ...]) -> list[type]:
    return [type(event) for event in events]


def test_a_connection_that_is_replaced_at_once_is_no_outage() -> None:
    outage = Outage("t")
    assert kinds(outage.failed(CUT, 1, 0.0)) == []
    assert kinds(outage.joined(0.1)) == []


def test_a_second_failure_is_told_once_and_its_end_counts_from_the_first() -> None:
    outage = Outage("t")
    outage.failed(CUT, 1, 10.0)
    [event] = outage.failed(CUT, 2, 11.0)
    assert isinstance(event, BrokerUnavailable)
    assert "reset" in event.detail
    assert kinds(outage.failed(CUT, 3, 12.0)) == []
    [end] = outage.joined(14.5)
    assert isinstance(end, BrokerRecovered)
    assert end.seconds == 4.5
    assert kinds(outage.ended(15.0)) == []


def test_a_time_out_or_a_refused_join_is_told_at_once() -> None:
    assert kinds(Outage("t").failed(BrokerTimedOut("5 s"), 1, 0.0)) == [BrokerUnavailable]
    assert kinds(Outage("t").failed(BrokerRefused("LOADING", ""), 1, 0.0)) == [BrokerUnavailable]


def test_where_messages_are_refused_a_join_does_not_end_it() -> None:
    outage = Outage("t")
    assert kinds(outage.refused(BrokerRefused("WRONGTYPE", ""), 0.0)) == [BrokerUnavailable]
    assert kinds(outage.joined(1.0)) == []
    assert kinds(outage.failed(CUT, 2, 2.0)) == []
    assert kinds(outage.joined(3.0)) == []
    assert kinds(outage.ended(4.0)) == [BrokerRecovered]
