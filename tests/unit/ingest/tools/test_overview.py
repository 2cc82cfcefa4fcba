"""Snapshots of many processes as one tree."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from ingest.broker.history import FeedHistory, Point
from ingest.broker.status import Gone, Reading
from ingest.tools.overview import ABSENT, Observer, make_overview
from tests.support.snapshots import NOW, reading, supervisor, worker


def test_leader_and_standby_of_one_feed_are_one() -> None:
    leader = supervisor("a:1:x", trades={"state": "READY", "lease": "leads", "frames": 100, "since": NOW - 60, "queue": "q"})
    standby = supervisor("b:2:y", trades={"state": "STANDBY", "lease": "stands_by", "frames": 7, "queue": "q"})

    [feed] = make_overview(reading(standby, leader)).feeds

    assert (feed.lead, feed.standbys, feed.told_by) == ("a:1", ["b:2"], "a:1")
    assert (feed.state, feed.frames, feed.for_seconds) == ("READY", 107, pytest.approx(60))
    assert feed.alive


def test_how_long_a_feed_has_been_down_and_how_often_it_reconnected_come_from_who_speaks_for_it() -> None:
    told = {"state": "BACKING_OFF", "lease": "leads", "since": NOW - 1, "down_since": NOW - 300, "reconnects_lately": 12}
    [feed] = make_overview(reading(supervisor("a:1:x", trades=told))).feeds
    assert (feed.for_seconds, feed.down_seconds, feed.reconnects_lately) == (pytest.approx(1), pytest.approx(300), 12)

    [feed] = make_overview(reading(supervisor("a:1:x", trades={"state": "READY", "down_since": None}))).feeds
    assert (feed.down_seconds, feed.reconnects_lately) == (None, 0)


def test_feeds_of_one_name_in_two_groups_are_two() -> None:
    blue = supervisor("a:1:x", group="blue", trades={"state": "READY", "frames": 1})
    green = supervisor("b:2:y", group="green", trades={"state": "FAILED", "frames": 2})

    overview = make_overview(reading(blue, green))

    assert [(feed.label, feed.state, feed.frames) for feed in overview.feeds] == [
        ("blue/trades", "READY", 1),
        ("green/trades", "FAILED", 2),
    ]


def test_rates_are_between_two_snapshots_of_a_process_by_its_own_clock() -> None:
    observer = Observer()
    wrong_clock = NOW - 5000
    first = supervisor("a:1:x", at=wrong_clock, trades={"frames": 100, "enqueued": 50}, queues={"q": {"depth": 30}})
    overview = observer.take(reading(first, worker("w:1:z", trades={"processed": 10})))
    assert (overview.feeds[0].frames_rate, overview.feeds[0].processed_rate, observer.settled) == (None, None, False)

    second = supervisor("a:1:x", at=wrong_clock + 2, trades={"frames": 300, "enqueued": 60}, queues={"q": {"depth": 10}})
    overview = observer.take(reading(second, worker("w:1:z", at=NOW + 1, trades={"processed": 40})))

    [feed] = overview.feeds
    assert (feed.frames_rate, feed.enqueued_rate, feed.processed_rate, observer.settled) == (100, 5, 30, True)
    assert overview.queues[0].growth == -10


def test_a_snapshot_read_twice_keeps_the_rates() -> None:
    observer = Observer()
    later = reading(supervisor("a:1:x", at=NOW + 1, trades={"frames": 300}))
    observer.take(reading(supervisor("a:1:x", at=NOW, trades={"frames": 100})))

    assert [observer.take(later).feeds[0].frames_rate for _ in range(3)] == [200, 200, 200]


def test_who_was_not_heard_of_for_seconds_is_silent_has_no_rate_and_leads_nothing() -> None:
    observer = Observer()
    observer.take(reading(supervisor("a:1:x", at=NOW, trades={"frames": 100, "lease": "leads"})))
    last = reading(supervisor("a:1:x", at=NOW + 1, trades={"frames": 300, "lease": "leads"}), age=7.0)

    overview = observer.take(last)

    assert (overview.feeds[0].frames_rate, overview.feeds[0].lead, overview.feeds[0].alive) == (0, "", False)
    assert not overview.supervisors[0].alive


def test_a_standby_speaks_for_a_feed_only_if_nobody_else_does() -> None:
    failed = supervisor("a:1:x", trades={"state": "FAILED", "lease": "none", "last_reason": "status 403"})
    standby = supervisor("b:2:y", trades={"state": "STANDBY", "lease": "stands_by"})
    stopped = supervisor("c:3:z", final=True, trades={"state": "STOPPED", "lease": "none"})

    assert make_overview(reading(failed, standby, stopped)).feeds[0].state == "FAILED"
    assert make_overview(reading(standby, stopped)).feeds[0].state == "STANDBY"
    assert make_overview(reading(stopped)).feeds[0].state == "STOPPED"


def test_of_an_older_version_that_knows_no_lease_leads_whoever_does_not_stand_by() -> None:
    one = supervisor("a:1:x", trades={"state": "STANDBY", "frames": 1})
    other = supervisor("b:2:y", trades={"state": "BACKING_OFF", "frames": 1})

    [feed] = make_overview(reading(one, other)).feeds

    assert (feed.lead, feed.standbys) == ("b:2", ["a:1"])


def test_lags_are_the_slowest_worker_s_and_queues_the_newest_supervisor_s() -> None:
    lately = {"processed_lately": 2, "failed_lately": 1}
    fast = worker("w:1:a", trades={"processed": 5, "failed": 1, **lately, "lag_ms": {"p50": 1.0, "p99": 9.0}})
    slow = worker("w:2:b", trades={"processed": 6, "failed": 0, "lag_ms": {"p50": 3.0, "p99": 4.0}})
    ended = worker("w:3:c", final=True, trades={"processed": 7, "failed": 0, **lately, "lag_ms": {"p50": 99.0, "p99": 99.0}})
    old = supervisor("a:1:x", trades={"queue": "q"}, queues={"q": {"depth": 1}})
    new = supervisor(
        "b:1:x", trades={"queue": "q"}, queues={"q": {"depth": 2, "dead": 3, "died_lately": 1, "high_watermark": 100}}
    )
    told = reading(fast, slow, ended, old, new)
    told = dataclasses.replace(told, ages={**told.ages, "a:1:x": 3.0})

    overview = make_overview(told)

    [feed] = overview.feeds
    assert (feed.lag_p50, feed.lag_p99, feed.processed, feed.failed, feed.depth) == (3.0, 9.0, 18, 1, 2)
    assert (feed.processed_lately, feed.failed_lately) == (2, 1)  # not those of a worker that has ended
    [queue] = overview.queues
    assert (queue.depth, queue.dead, queue.died_lately, queue.high_watermark, queue.growth) == (2, 3, 1, 100, None)


def test_a_supervisor_that_has_just_begun_does_not_hide_what_died_lately() -> None:
    """It counts from its first look; the one beside it has seen them die."""
    queues = {"q": {"dead": 3, "died_lately": 3}}
    begun = supervisor("b:1:x", trades={"queue": "q"}, queues={"q": {"dead": 3, "died_lately": 0}})
    beside = Reading(at=NOW, statuses=[supervisor("a:1:x", trades={"queue": "q"}, queues=queues), begun], ages={"a:1:x": 0.9})
    assert [queue.died_lately for queue in make_overview(beside).queues] == [3]

    ended = supervisor("a:1:x", final=True, trades={"queue": "q"}, queues=queues)
    assert [queue.died_lately for queue in make_overview(reading(ended, begun)).queues] == [0]  # a past minute is none of ours
    assert [queue.died_lately for queue in make_overview(reading(ended)).queues] == [3]


def test_a_feed_that_is_expected_and_that_nobody_tells_of_is_absent() -> None:
    overview = make_overview(reading(), expected=[("", "trades")])

    assert [(feed.name, feed.state, feed.alive) for feed in overview.feeds] == [("trades", ABSENT, False)]
    assert overview.empty


def test_who_is_gone_is_listed_with_the_age_of_the_last_sign_of_life() -> None:
    overview = make_overview(Reading(NOW, [], {}, [Gone("worker", "h:7:x", NOW - 90), Gone("supervisor", "h:8:x", NOW - 30)]))

    assert [(each.name, each.age, each.alive) for each in overview.workers] == [("h:7", 90.0, False)]
    assert [(each.name, each.gone) for each in overview.supervisors] == [("h:8", True)]


@pytest.mark.parametrize(
    "feeds",
    [
        None,
        7,
        {"trades": None},
        {"trades": {}},
        {"trades": {"frames": "many", "since": True, "drops": [1], "lease": 5, "queue": {}, "reconnect_reasons": {"a": "b"}}},
        {"trades": {"frames": 1e400, "state": 7, "last_reason": 9, "oldest_age": "x", "spooled": None}},
    ],
)
def test_what_is_not_understood_is_passed_over(feeds: Any) -> None:
    odd = {**supervisor("a:1:x"), "feeds": feeds, "queues": {"q": 7, "r": {"depth": None}}}

    overview = make_overview(reading(odd, {**worker("w:1:x"), "feeds": feeds}))

    assert [feed.frames for feed in overview.feeds] in ([], [0])
    assert overview.queues[-1].depth == 0


def test_the_tree_is_json_with_the_history_of_each_feed() -> None:
    history = {("", "trades"): FeedHistory([Point(at=NOW, state="READY")])}

    overview = make_overview(reading(supervisor("a:1:x", trades={"state": "READY"})), histories=history)

    assert json.loads(json.dumps(dataclasses.asdict(overview)))["feeds"][0]["points"][0]["state"] == "READY"


def test_who_cannot_lead_because_of_another_feed_of_that_name_is_no_standby() -> None:
    leads = supervisor("a:1:x", trades={"state": "READY", "lease": "leads", "url": "wss://one"})
    other = supervisor("b:2:y", trades={"state": "STANDBY", "lease": "none", "name_taken": True, "url": "wss://other"})

    for said in (reading(leads, other), reading(other, leads)):
        [feed] = make_overview(said).feeds
        assert (feed.lead, feed.standbys, feed.name_taken_on, feed.url) == ("a:1", [], ["b:2"], "wss://one")
    [feed] = make_overview(reading(leads, other, age=9.0)).feeds
    assert feed.name_taken_on == []


def test_what_is_wrong_with_a_spool_is_known_by_supervisor_and_of_the_past_no_more() -> None:
    well = supervisor("a:1:x", trades={"state": "READY", "lease": "leads", "spool_trouble": ""})
    ill = supervisor("b:2:y", trades={"state": "STANDBY", "lease": "stands_by", "spool_trouble": "gone"})
    odd = supervisor("c:3:z", trades={"state": "STANDBY", "spool_trouble": 7})

    [feed] = make_overview(reading(well, ill, odd)).feeds
    assert feed.spool_troubles == {"b:2": "gone"}
    [feed] = make_overview(reading(well, ill, age=9.0)).feeds
    assert feed.spool_troubles == {}
