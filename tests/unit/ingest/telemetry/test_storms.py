"""Folding what repeats: the first at once, the rest in summaries, nothing in silence."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.telemetry.storms import BURST, CALM, WINDOW, Storms


def feed(storms, times, *, key="lost", start=0.0, step=0.5):
    """Give so many, one each step; return the numbers told by themselves, the summaries, and the time after the last."""
    told, summaries, now = [], [], start
    for number in range(times):
        due, single = storms.take(key, number, now)
        summaries += due
        told += [number] if single else []
        now += step
    return told, summaries, now - step


def test_a_few_are_told_one_by_one_and_sum_up_to_nothing():
    storms = Storms()
    assert feed(storms, BURST)[:2] == (list(range(BURST)), [])
    assert storms.due(1000.0) == []
    assert storms.end(1000.0) == []


def test_forty_more_within_a_minute_are_one_summary_of_the_last_when_it_is_calm_again():
    storms = Storms()
    told, summaries, last = feed(storms, BURST + 40)
    assert (told, summaries) == (list(range(BURST)), [])
    assert storms.due(last + CALM - 0.1) == []
    [summary] = storms.due(last + CALM)
    assert (summary.last, summary.times, summary.seconds, summary.amount) == (BURST + 39, 40, last + CALM, None)
    assert storms.due(last + 1000) == []
    assert feed(storms, BURST, start=last + 1000)[0] == list(range(BURST)), "the next storm begins anew"


def test_a_storm_that_goes_on_is_summed_up_every_minute_and_tells_nothing_else():
    storms = Storms()
    told, summaries, last = feed(storms, 400)  # 200 s
    assert told == list(range(BURST))
    assert [(each.times, each.seconds) for each in summaries] == [(120 - BURST, WINDOW), (120, WINDOW), (120, WINDOW)]
    [rest] = storms.due(last + CALM)
    assert BURST + sum(each.times for each in [*summaries, rest]) == 400


def test_kinds_do_not_fold_each_other():
    storms = Storms()
    feed(storms, 100, key="lost")
    assert feed(storms, 3, key="failed", start=50.0)[0] == [0, 1, 2]


def test_amounts_add_up_to_what_was_not_told():
    storms = Storms(lambda each: each)
    feed(storms, BURST + 3)
    [summary] = storms.end(7.0)
    assert (summary.times, summary.amount) == (3, 10 + 11 + 12)


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from("ab"), st.booleans()), max_size=300))
def test_told_and_folded_are_all_there_was(steps):
    storms, now, told, folded = Storms(lambda each: 1), 0.0, 0, 0
    for pause, key, look in steps:
        now += pause
        due, single = storms.take(key, now, now)
        told += single
        folded += sum(each.times for each in due)
        folded += sum(each.times for each in storms.due(now)) if look else 0
    rest = storms.end(now)
    assert told + folded + sum(each.times for each in rest) == len(steps)
    assert all(each.amount == each.times for each in rest)
