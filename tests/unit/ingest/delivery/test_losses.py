"""Losses: every number that is given up is counted, and told once per episode."""

from __future__ import annotations

import pytest

from ingest.delivery.losses import LONGEST_EPISODE, Losses
from ingest.events import DropReason, DropsBegan, Event, FramesDropped, GapCause, GapFound
from tests.support.connections import ManualClock
from tests.support.spools import entries


class Told:
    """Losses with their events and their clock."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.clock = ManualClock()
        self.position: object = None
        self.losses = Losses("trades", "label", self.events.append, position=lambda: self.position, clock=self.clock)

    @property
    def kinds(self) -> list[type[Event]]:
        return [type(event) for event in self.events]


def test_an_episode_is_told_when_it_begins_and_with_its_sum_when_it_ends() -> None:
    told = Told()
    told.losses.drop("p", entries(5, 9), "drop_newest")
    told.losses.drop("p", entries(12, 12), "drop_newest")
    [began] = told.events
    assert isinstance(began, DropsBegan)
    assert (began.reason, began.producer, began.first_seq, began.telemetry_id) == ("drop_newest", "p", 5, "label")
    told.losses.end()
    _, dropped, gap = told.events
    assert isinstance(dropped, FramesDropped)
    assert (dropped.reason, dropped.producer, dropped.count) == ("drop_newest", "p", 6)
    assert (dropped.first_seq, dropped.last_seq) == (5, 12)
    assert isinstance(gap, GapFound)
    assert (gap.feed, gap.cause, gap.producer, gap.last_seq, gap.count) == ("trades", "dropped", "p", 4, 6)
    assert (gap.from_us, gap.to_us) == (1_000_005, 1_000_012), "when the first and the last of them were received"
    assert (told.losses.counts, told.losses.total) == ({"drop_newest": 6}, 6)


def test_since_when_something_is_given_up_and_not_recorded_is_known_while_the_episode_goes_on() -> None:
    told = Told()
    assert told.losses.since_us is None
    told.losses.drop("p", entries(5, 9), "drop_oldest")
    told.losses.drop("p", entries(2, 3), "drop_oldest")
    assert told.losses.since_us == 1_000_002
    told.losses.end()
    assert told.losses.since_us is None


def test_what_is_over_is_over() -> None:
    told = Told()
    told.losses.end()
    assert told.events == []
    told.losses.drop("p", entries(1, 1), "drop_newest")
    told.losses.end()
    told.losses.end()
    assert told.kinds == [DropsBegan, FramesDropped, GapFound]
    told.losses.drop("p", entries(2, 2), "drop_newest")
    assert told.kinds[3:] == [DropsBegan]


def test_nothing_is_no_loss() -> None:
    told = Told()
    told.losses.drop("p", [], "fenced")
    assert (told.events, told.losses.total) == ([], 0)


@pytest.mark.parametrize("next_one", [("q", "drop_oldest"), ("p", "rejected")])
def test_another_producer_or_another_reason_is_another_episode(next_one: tuple[str, DropReason]) -> None:
    told = Told()
    told.losses.drop("p", entries(1, 3), "drop_oldest")
    told.losses.drop(next_one[0], entries(7, 7), next_one[1])
    assert told.kinds == [DropsBegan, FramesDropped, GapFound, DropsBegan]
    told.losses.end()
    assert [event.count for event in told.events if isinstance(event, FramesDropped)] == [3, 1]


def test_numbers_may_come_in_any_order() -> None:
    told = Told()
    told.losses.drop_range("p", 10, 20, 11, 500, 600, "drop_oldest")
    told.losses.drop_range("p", 4, 9, 2, 300, 700, "drop_oldest")
    told.losses.end()
    [gap] = [event for event in told.events if isinstance(event, GapFound)]
    assert (gap.last_seq, gap.from_us, gap.to_us, gap.count) == (3, 300, 700, 13)
    assert gap.detail == "drop_oldest: numbers 4 to 20"


def test_a_long_episode_is_told_in_parts() -> None:
    told = Told()
    told.losses.drop("p", entries(1, 1), "drop_newest")
    told.clock.now += LONGEST_EPISODE - 1
    told.losses.drop("p", entries(2, 2), "drop_newest")
    assert told.kinds == [DropsBegan]
    told.clock.now += 1
    told.losses.drop("p", entries(3, 3), "drop_newest")
    assert told.kinds == [DropsBegan, FramesDropped, GapFound]
    told.losses.drop("p", entries(4, 4), "drop_newest")
    assert told.kinds[3:] == [DropsBegan]


def test_the_position_is_that_of_the_beginning() -> None:
    told = Told()
    told.position = {"offset": 7}
    told.losses.drop("p", entries(1, 1), "drop_newest")
    told.position = {"offset": 9}
    told.losses.end()
    assert [event.position for event in told.events if isinstance(event, GapFound)] == [{"offset": 7}]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("drop_oldest", "dropped"),
        ("drop_newest", "dropped"),
        ("vetoed", "dropped"),
        ("unencodable", "dropped"),
        ("fenced", "fenced"),
        ("rejected", "rejected"),
        ("damaged", "damaged"),
        ("lost", "lost"),
    ],
)
def test_the_gap_says_the_cause_as_whoever_reads_it_knows_it(reason: DropReason, cause: GapCause) -> None:
    told = Told()
    told.losses.lose("p", 3, 9, 5, reason)
    _, _, gap = told.events
    assert isinstance(gap, GapFound)
    assert (gap.cause, gap.last_seq, gap.count) == (cause, 2, 5)


def test_what_is_gone_without_a_trace_is_told_at_once() -> None:
    told = Told()
    told.losses.drop("p", entries(1, 1), "drop_newest")
    told.losses.lose("p", 1, 4, 4, "damaged")
    assert told.kinds == [DropsBegan, FramesDropped, GapFound] * 2
