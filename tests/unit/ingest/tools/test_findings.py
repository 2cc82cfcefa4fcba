"""What is wrong, as sentences with a remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingest.broker.refusal import Cause, Refusal
from ingest.errors import DialFailed, HandshakeRejected, PingTimedOut
from ingest.tools.findings import Severity, advice, find, headline, is_well
from ingest.tools.overview import make_overview
from ingest.tools.views import FeedView, Overview, Process, QueueView
from tests.support.snapshots import NOW, reading, supervisor, worker

RUNS = Process(kind="supervisor", id="host:7:x", name="host:7", age=0.5)
WORKS = Process(kind="worker", id="host:8:x", name="host:8", age=0.5)
WELL = FeedView(group="", name="trades", state="READY", lead="host:7", told_by="host:7", alive=True, queue="q")


def overview_of(*feeds: FeedView, queue: QueueView | None = None, others: tuple[Process, ...] = (WORKS,)) -> Overview:
    workers = [each for each in others if each.kind == "worker"]
    supervisors = [RUNS, *(each for each in others if each.kind == "supervisor")]
    return Overview(at=NOW, feeds=feeds, queues=[queue] if queue else [], supervisors=supervisors, workers=workers)


def told(overview: Overview) -> list[str]:
    return [str(finding) for finding in find(overview)]


def test_all_well_is_one_sentence_too() -> None:
    overview = overview_of(WELL, queue=QueueView(name="q", depth=10, high_watermark=100))

    assert find(overview) == []
    assert headline(overview, []) == "all well: 1 feed, 1 supervisor, 1 worker process"


def test_a_feed_that_gave_up_names_the_reason_the_place_and_the_command() -> None:
    reason = str(HandshakeRejected(403))
    overview = overview_of(replace(WELL, state="FAILED", lead="", last_reason=reason))

    assert headline(overview, find(overview)) == (
        "trades: FAILED (the server answered the upgrade with status 403) on host:7: "
        "check the token; python -m ingest check --connect; then start it again"
    )


@pytest.mark.parametrize(
    ("change", "says", "remedy"),
    [
        (
            {"state": "BACKING_OFF", "for_seconds": 75.0, "last_reason": str(PingTimedOut(20.0))},
            "not connected for 1 min 15 s (ping not answered for 20 s) on host:7",
            "check --connect",
        ),
        (
            {"state": "BACKING_OFF", "for_seconds": 0.2, "down_seconds": 75.0, "last_reason": "x"},
            "not connected for 1 min 15 s (x) on host:7, trying again",
            "check --connect",
        ),
        ({"state": "CONNECTING", "for_seconds": 11.0}, "CONNECTING, not connected for 11 s on host:7", "check --connect"),
        (
            {"state": "CONNECTING", "for_seconds": 1.0, "down_seconds": 3700.0, "reconnects_lately": 40},
            "CONNECTING, not connected for 1 h 1 min on host:7",
            "check --connect",
        ),
        (
            {"state": "READY", "for_seconds": 0.2, "reconnects_lately": 312, "last_reason": "closed by the server with 1011"},
            "reconnected 312 times in ten minutes (closed by the server with 1011) on host:7",
            "check --connect",
        ),
        (
            {"state": "BACKING_OFF", "down_seconds": 0.2, "reconnects_lately": 21, "last_reason": "x"},
            "reconnected 21 times in ten minutes (x) on host:7",
            "check --connect",
        ),
        ({"state": "BLOCKED", "for_seconds": 3.0}, "reads nothing for 3 s on host:7", "ingest doctor"),
        ({"state": "SLOW_CALLBACK"}, "its session's code does not return on host:7", "callback_slow"),
        ({"state": "STANDBY", "lead": "", "standbys": ["b:2"]}, "nobody leads; b:2 takes over", "look again"),
        ({"paused": True, "state": "READY"}, "paused by an operator", "python -m ingest resume trades"),
        ({"state": "PAUSED", "for_seconds": 3700.0}, "paused by an operator for 1 h 1 min", "python -m ingest resume trades"),
        (
            {"spool_troubles": {"host:7": "spool/a was removed while it was in use, and cannot be written anew: x"}},
            "its spool takes nothing on host:7 (spool/a was removed while it was in use",
            "create the folder again",
        ),
        ({"spool_troubles": {"host:7": "the spool is full: a"}}, "takes nothing on host:7 (the spool is full: a)", "make room"),
        ({"name_taken_on": ["b:2"]}, "another feed of that name leads on host:7, so b:2 reads nothing", "[supervisor] group"),
        (
            {"name_taken_on": ["b:2"], "state": "STANDBY", "lead": "", "told_by": "b:2"},
            "another feed of that name leads, so b:2 reads nothing",
            "give one another name",
        ),
        ({"oldest_age": 45.0, "backlog": 1234}, "what was read 45 s ago is not in the queue yet (1,234 messages wait)", "doctor"),
    ],
)
def test_what_keeps_a_feed_from_flowing_is_a_warning(change: dict, says: str, remedy: str) -> None:
    [finding] = find(overview_of(replace(WELL, **change)))

    assert (finding.severity, finding.subject) == (Severity.WARNING, "trades")
    assert says in finding.text
    assert remedy in finding.remedy


@pytest.mark.parametrize("state", ["IDLE", "CONNECTING", "BOOTSTRAPPING"])
def test_a_feed_on_its_way_is_given_some_seconds(state: str) -> None:
    assert is_well(find(overview_of(replace(WELL, state=state, for_seconds=2.0))))


def test_some_reconnects_in_ten_minutes_are_no_news() -> None:
    assert is_well(find(overview_of(replace(WELL, reconnects_lately=20))))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"state": "ABSENT", "told_by": ""}, "no supervisor runs it: start or reload one"),
        ({"state": "STOPPED", "told_by": "a:1"}, "stopped with a:1, and nobody took over: python -m ingest run"),
        ({"state": "READY", "told_by": "a:1"}, "a:1 has fallen silent: see whether that process hangs"),
    ],
)
def test_a_feed_that_no_supervisor_runs_is_an_error(change: dict, says: str) -> None:
    [finding] = find(overview_of(replace(WELL, alive=False, lead="", **change)))

    assert finding.severity is Severity.ERROR
    assert says in str(finding)


@pytest.mark.parametrize(
    ("process", "says"),
    [
        (replace(RUNS, age=9.0), "none runs; host:7 was last heard of 9 s ago and said no last word (killed, or cut off)"),
        (replace(RUNS, age=40.0, final=True), "none runs; host:7 was stopped 40 s ago"),
        (replace(RUNS, age=600.0, gone=True), "none runs; host:7 was last heard of 10 min ago"),
        (None, "none runs, or none on this Redis and in this namespace"),
    ],
)
def test_that_nobody_runs_is_told_once_and_first(process: Process | None, says: str) -> None:
    feed = replace(WELL, alive=False, lead="")
    overview = Overview(at=NOW, feeds=[feed, replace(feed, name="book")], supervisors=[process] if process else [])

    first, *rest = find(overview)

    assert says in str(first)
    assert first.remedy == "start it with python -m ingest run"
    assert all(finding.subject == "supervisor host:7" for finding in rest)


def test_queues_that_are_full_that_grow_without_workers_and_that_hold_dead_letters() -> None:
    full = QueueView(name="q", depth=100, high_watermark=100, dead=3)
    grows = QueueView(name="q", depth=5000, high_watermark=20_000, growth=12.0)

    assert told(overview_of(WELL, queue=full)) == [
        "queue q: full: 100 messages wait (high_watermark 100): "
        "start more workers (dramatiq workers), or see what its actors wait for",
        "queue q: 3 dead letters: python -m ingest dead-letters list --queue q",
    ]
    assert told(overview_of(WELL, queue=grows, others=())) == [
        "queue q: grows by 12/s, 5,000 messages wait: no worker process tells of itself: start dramatiq workers"
    ]
    assert told(overview_of(WELL, queue=grows)) == []
    assert told(overview_of(WELL, queue=replace(grows, depth=100), others=())) == []


def test_where_redis_may_not_be_asked_whether_it_takes_writes_that_is_said() -> None:
    gone = replace(RUNS, age=40.0, gone=True)
    overview = Overview(at=NOW, refusal=Refusal("unknown", "this user may not ask (INFO)"), supervisors=[gone])

    assert headline(overview, find(overview)) == (
        "supervisor: none runs; host:7 was last heard of 40 s ago and said no last word (killed, or cut off); "
        "or Redis is full, a replica or without disk and takes no snapshots, which this user of it may not ask: "
        "start it with python -m ingest run, if it does not run; to know more ask with a user that has +info"
    )


def test_a_full_queue_is_told_before_the_feeds_that_it_blocks() -> None:
    overview = overview_of(replace(WELL, state="BLOCKED"), queue=QueueView(name="q", depth=100, high_watermark=100))

    assert [each.subject for each in find(overview)] == ["queue q", "trades"]
    assert headline(overview, find(overview)).startswith("queue q: full: 100 messages wait")


def test_a_queue_whose_messages_die_is_no_good_news() -> None:
    """A mistyped actor: all of it becomes dead letters at once, and nothing else is wrong."""
    dies = QueueView(name="q", dead=3302, died_lately=312)
    overview = overview_of(WELL, queue=dies)

    assert headline(overview, find(overview)) == (
        "queue q: 312 messages became dead letters in the last minute: "
        "python -m ingest dead-letters list --queue q --newer-than 2m"
    )
    assert not is_well(find(overview))
    assert told(overview_of(WELL, queue=replace(dies, dead=1, died_lately=0))) == [
        "queue q: 1 dead letter: python -m ingest dead-letters list --queue q"
    ]


def test_a_queue_of_which_nobody_takes_anything_although_there_are_workers() -> None:
    stalled = QueueView(name="q", depth=70, high_watermark=100, stalled_seconds=75)
    remedy = "its actors hang, or no worker has an actor on this queue: see the workers' log; python -m ingest doctor"

    assert told(overview_of(WELL, queue=stalled)) == [
        f"queue q: 70 messages wait, and nobody has taken any for 1 min 15 s: {remedy}"
    ]
    assert told(overview_of(WELL, queue=replace(stalled, depth=100))) == [
        f"queue q: full: 100 messages wait (high_watermark 100), and nobody has taken any for 1 min 15 s: {remedy}"
    ]
    assert "start dramatiq workers" in told(overview_of(WELL, queue=stalled, others=()))[0]


@pytest.mark.parametrize(
    ("processed", "failed", "fails"), [(0, 10, True), (189, 10, True), (190, 10, False), (0, 9, False), (0, 0, False)]
)
def test_an_actor_that_fails_is_told_long_before_its_messages_are_dead(processed: int, failed: int, fails: bool) -> None:
    feed = replace(WELL, actor="handle_trade", processed_lately=processed, failed_lately=failed)

    assert (
        told(overview_of(feed))
        == [
            f"trades: its actor handle_trade fails: 10 of {processed + 10} attempts in the last minute: "
            "the exception is in the workers' log, or in Sentry"
        ]
        * fails
    )


def test_processes_that_are_silent_or_gone() -> None:
    silent = replace(WORKS, age=8.0)
    gone = replace(RUNS, id="b:2:y", name="b:2", age=300.0, gone=True)
    ended = replace(WORKS, name="c:3", age=30.0, final=True)

    assert [(each.severity, str(each)) for each in find(overview_of(WELL, others=(silent, gone, ended)))] == [
        (
            Severity.WARNING,
            "worker host:8: silent for 8 s: see whether it hangs, or has lost Redis; python -m ingest doctor there",
        ),
        (
            Severity.NOTICE,
            "supervisor b:2: last heard of 5 min ago, without a last word (killed, or cut off): "
            "see its log, and that its platform starts it again",
        ),
    ]


def test_losses_the_disk_and_a_standby_that_gave_up_are_good_to_know_and_no_more() -> None:
    feed = replace(WELL, lost=2, dropped=1000, spooled=5, failed_on=["b:2"])

    findings = find(overview_of(feed))

    assert is_well(findings)
    assert [str(finding) for finding in findings] == [
        "trades: given up on b:2, which cannot take over any more: see the log there, then start that supervisor again",
        "trades: 1,000 payloads dropped and 2 lost since its supervisors began: python -m ingest gaps --feed trades",
        "trades: 5 payloads wait on the disk: they are sent as soon as the queue has room and Redis answers",
    ]
    assert headline(overview_of(feed), findings).startswith("all well")


def test_the_worst_comes_first_and_the_rest_is_counted() -> None:
    waits = replace(WELL, name="a", state="BACKING_OFF")
    failed = replace(WELL, name="b", state="FAILED")
    noted = replace(WELL, name="c", lost=1)
    overview = overview_of(waits, failed, noted)

    findings = find(overview)

    assert [finding.subject for finding in findings] == ["b", "a", "c"]
    assert headline(overview, findings).startswith("b: FAILED")
    assert headline(overview, findings).endswith("(and 1 more)")


def test_texts_of_others_come_without_control_characters() -> None:
    feed = replace(WELL, name="\x1b[31mred", state="FAILED", last_reason="a\x07b")

    assert all(str(finding).isprintable() for finding in find(overview_of(feed)))


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (HandshakeRejected(401), "check the token"),
        (HandshakeRejected(404), "check the feed's url"),
        (HandshakeRejected(302, {"location": "https://example.com/"}), "check the feed's url"),
        (HandshakeRejected(429), "connect less often"),
        (HandshakeRejected(503), "trouble of the server's own"),
        (DialFailed("dns", "no such host"), "check the host name"),
        (DialFailed("tls", "certificate verify failed"), "check the feed's tls settings"),
        (PingTimedOut(20.0), "see its log"),
    ],
)
def test_the_advice_goes_by_what_the_reason_says(reason: Exception, remedy: str) -> None:
    assert advice(str(reason)).startswith(remedy)


def test_a_whole_overview_of_snapshots() -> None:
    failed = supervisor("a:1:x", trades={"state": "FAILED", "lease": "none", "last_reason": str(HandshakeRejected(403))})
    overview = make_overview(reading(failed, worker("w:1:x")))

    assert headline(overview, find(overview)).startswith(
        "trades: FAILED (the server answered the upgrade with status 403) on a:1"
    )


@pytest.mark.parametrize(
    ("cause", "remedy"), [("full", "give it more memory"), ("replica", "name the primary"), ("disk", "make room on its disk")]
)
def test_a_redis_that_takes_no_writes_is_the_one_finding_where_all_are_silent(cause: Cause, remedy: str) -> None:
    silent, gone = replace(RUNS, age=9.0), replace(WORKS, age=600.0, gone=True)
    feed = replace(WELL, alive=False, lead="")
    refusal = Refusal(cause, "its own words")

    [finding] = find(Overview(at=NOW, refusal=refusal, feeds=[feed], supervisors=[silent], workers=[gone]))

    assert str(finding).startswith("Redis: refuses writes (its own words), so nobody can tell how it is: ")
    assert finding.severity is Severity.ERROR
    assert remedy in finding.remedy


def test_supervisors_that_said_their_last_word_do_not_run_whatever_redis_refuses() -> None:
    stopped = replace(RUNS, age=40.0, final=True)

    found = told(Overview(at=NOW, refusal=Refusal("full", "x"), supervisors=[stopped], workers=[replace(WORKS, age=9.0)]))

    assert [each.partition(" (")[0] for each in found] == [
        "Redis: refuses writes",
        "supervisor: none runs; host:7 was stopped 40 s ago: start it with python -m ingest run",
    ]
