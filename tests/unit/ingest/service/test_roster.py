from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from ingest.service.roster import Roster
from ingest.service.runner import FeedRunner
from ingest.telemetry.summary import FeedNumbers


def runner(name: str, *, spooled: int = 0, **counts: int) -> FeedRunner:
    numbers = FeedNumbers(**counts)  # type: ignore[arg-type]
    return cast(FeedRunner, SimpleNamespace(settings=SimpleNamespace(name=name), numbers=lambda: numbers, spooled=spooled))


def test_whoever_goes_through_it_sees_the_feeds_as_they_were_when_it_began() -> None:
    one, two = runner("one"), runner("two")
    roster = Roster([one])
    seen = []
    for each in roster:
        roster.add(two)
        roster.remove(one)
        seen.append(each)
    assert seen == [one]
    assert list(roster) == [two]


def test_a_feed_is_found_by_its_name() -> None:
    one = runner("one")
    assert Roster([one]).named("one") is one
    with pytest.raises(KeyError):
        Roster([one]).named("two")


def test_what_those_that_left_had_done_stays_in_the_sum() -> None:
    roster = Roster([runner("stays", frames=5, enqueued=4), leaves := runner("leaves", frames=3, lost=2, spooled=1)])
    roster.remove(leaves)
    assert roster.totals() == {"read": 8, "emitted": 0, "enqueued": 4, "spooled": 1, "dropped": 0, "lost": 2}
