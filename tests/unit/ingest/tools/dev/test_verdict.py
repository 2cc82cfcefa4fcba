from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from ingest.tools.dev.crew import Ended
from ingest.tools.dev.progress import FeedNumbers, Totals
from ingest.tools.dev.readings import Left
from ingest.tools.dev.verdict import Outcome, problems, remarks

FEED = FeedNumbers("trades", frames=10, emitted=10, enqueued=10, processed=10)
TOTALS = Totals(frames=10, emitted=10, enqueued=10, processed=10, dropped=0, lost=0, reconnects=0)
GOOD = Outcome(
    feeds=(FEED,),
    totals=TOTALS,
    ended=(Ended("ingest", 0, asked=True), Ended("worker", 0, asked=True)),
    supervisor_told=True,
    workers_told=True,
    left=Left(),
    timed=True,
)


def test_a_run_in_which_everything_went_well_has_no_problems() -> None:
    assert problems(GOOD) == []
    assert remarks(GOOD) == []


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (Ended("ingest", 1, asked=True), "ingest ended (exit code 1)"),
        (Ended("ingest", 0, asked=False), "ingest ended unexpectedly (exit code 0)"),
        (Ended("worker", -signal.SIGKILL, asked=False), "worker ended unexpectedly (killed by SIGKILL)"),
        (Ended("worker", -signal.SIGKILL, asked=True, killed=True), "worker did not end when asked and was killed"),
    ],
)
def test_a_process_that_did_not_end_as_it_should_is_a_problem(ended: Ended, said: str) -> None:
    assert problems(replace(GOOD, ended=(ended,))) == [said]


def test_a_process_that_our_signal_ended_before_it_could_listen_is_none() -> None:
    assert problems(replace(GOOD, ended=(Ended("ingest", -signal.SIGTERM, asked=True),))) == []


def test_what_a_feed_says_it_lost_is_a_problem() -> None:
    lost = replace(GOOD, feeds=(replace(FEED, emitted=13, lost=3),))
    assert problems(lost) == ["feed trades: 3 frames were lost"]


@pytest.mark.parametrize(("emitted", "unknown"), [(12, 2), (9, -1)], ids=["too few enqueued", "more enqueued than emitted"])
def test_an_emitted_message_whose_fate_nobody_knows_is_a_problem(emitted: int, unknown: int) -> None:
    outcome = replace(GOOD, feeds=(replace(FEED, emitted=emitted),))
    assert problems(outcome) == [f"feed trades: the fate of {unknown} of {emitted} emitted frames is unknown"]


def test_what_a_feed_dropped_by_its_policy_is_accounted_for() -> None:
    assert problems(replace(GOOD, feeds=(replace(FEED, emitted=12, dropped=2),))) == []


@pytest.mark.parametrize(("told", "who"), [((False, True), "supervisor"), ((True, False), "workers")])
def test_last_numbers_that_never_came_are_a_problem(told: tuple[bool, bool], who: str) -> None:
    outcome = replace(GOOD, supervisor_told=told[0], workers_told=told[1])
    assert problems(outcome) == [f"the last numbers of the {who} never came"]


def test_what_was_enqueued_must_be_processed_or_in_the_queue() -> None:
    totals = replace(TOTALS, processed=4)
    assert problems(replace(GOOD, totals=totals, left=Left(waiting=3, delayed=2, dead=1))) == []
    gone = problems(replace(GOOD, totals=totals, left=Left(waiting=3, delayed=1, dead=1)))
    assert gone == ["1 frames were enqueued, and are neither processed nor in the queue"]


def test_a_message_processed_twice_is_no_loss() -> None:
    assert problems(replace(GOOD, totals=replace(TOTALS, processed=11))) == []


def test_on_a_shared_server_others_may_have_taken_what_is_gone() -> None:
    assert problems(replace(GOOD, totals=replace(TOTALS, processed=4), left=None)) == []


def test_a_killed_worker_is_the_problem_not_the_counts_it_took_along() -> None:
    killed = Ended("worker", -signal.SIGKILL, asked=False)
    outcome = replace(GOOD, ended=(killed,), workers_told=False, totals=replace(TOTALS, processed=4))
    assert problems(outcome) == [str(killed)]


def test_nothing_processed_is_a_problem_only_when_the_run_had_its_time() -> None:
    idle = replace(GOOD, totals=replace(TOTALS, processed=0), left=Left(waiting=10))
    assert problems(idle) == ["nothing was processed"]
    assert problems(replace(idle, timed=False)) == []


def test_what_is_left_in_the_queue_is_told() -> None:
    said = remarks(replace(GOOD, left=Left(waiting=3, delayed=2, dead=1)))
    assert said == [
        "3 messages: still waiting in the queue",
        "2 messages: waiting for another try",
        "1 messages: dead letters",
    ]
