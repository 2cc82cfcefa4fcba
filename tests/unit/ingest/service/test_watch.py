"""Queues that nobody reads, and dead letters that pile up, are told once."""

from ingest.broker.queues import QueueDepth
from ingest.events import DeadLettersGrew, QueueStalled
from ingest.service.watch import QueueWatch


def observed(states, *, high=1000, step=10.0):
    watch = QueueWatch("trades", "q", high)
    told = []
    for number, state in enumerate(states):
        told += watch.observe(QueueDepth(state[0], state[2], state[1]), number * step)
    return told


def test_a_growing_queue_with_an_unmoved_head_is_told_once_after_a_minute():
    told = observed([(n, b"a", 0) for n in range(1, 12)])
    assert [(type(event), event.depth, event.seconds) for event in told] == [(QueueStalled, 7, 60.0)]


def test_a_queue_at_its_watermark_need_not_grow():
    assert len(observed([(1000, b"a", 0)] * 8)) == 1


def test_a_moving_head_is_progress():
    assert observed([(n, f"id{n // 3}".encode(), 0) for n in range(1, 30)]) == []


def test_a_resting_queue_is_no_problem():
    assert observed([(5, b"a", 0)] * 20) == []
    assert observed([(0, None, 0)] * 20) == []


def test_a_second_episode_is_told_again():
    stall = [(n, b"a", 0) for n in range(1, 9)]
    again = [(n, b"b", 0) for n in range(9, 20)]
    assert len(observed(stall + again)) == 2


def test_dead_letters_are_told_when_they_grow_and_not_for_what_lay_there_before():
    told = observed([(0, None, 7), (0, None, 7), (0, None, 9), (0, None, 8)])
    assert [(type(event), event.added, event.total) for event in told] == [(DeadLettersGrew, 2, 9)]


def test_what_died_in_the_last_minute_counts_whatever_became_of_it():
    watch = QueueWatch("trades", "q", 1000)
    told = []
    for second, dead in ((0, 7), (1, 9), (30, 4), (50, 5), (60, 5), (61, 5), (110, 5)):
        watch.observe(QueueDepth(0, dead, None), float(second))
        told.append(watch.died_lately)

    assert told == [0, 2, 2, 3, 3, 1, 0]


def test_for_how_long_nobody_took_anything_is_known_while_it_lasts():
    watch = QueueWatch("trades", "q", 1000)
    told = []
    for second, head in ((0, b"a"), (59, b"a"), (60, b"a"), (75, b"a"), (76, b"b")):
        watch.observe(QueueDepth(second + 1, 0, head), float(second))
        told.append(watch.stalled_seconds)

    assert told == [0.0, 0.0, 60.0, 75.0, 0.0]
