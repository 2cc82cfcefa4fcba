"""The table of states: complete, closed, and strict."""

import pytest

from ingest.connection.states import FINAL, TRANSITIONS, State, Trigger, UnknownTransition, after, diagram


def test_every_state_can_be_reached_from_idle():
    reached, frontier = {State.IDLE}, {State.IDLE}
    while frontier:
        frontier = {new for (old, _), new in TRANSITIONS.items() if old in frontier} - reached
        reached |= frontier
    assert reached == set(State)


def test_final_states_have_no_way_out_and_all_others_have():
    left = {old for old, _ in TRANSITIONS}
    assert left == set(State) - FINAL


def test_every_living_state_can_be_stopped():
    assert all(after(state, Trigger.STOP) is State.STOPPED for state in State if state not in FINAL)


def test_every_living_state_can_be_fenced_and_then_stands_idle():
    assert all(after(state, Trigger.FENCED) is State.IDLE for state in State if state not in FINAL)


def test_a_missing_row_raises_and_names_both():
    with pytest.raises(UnknownTransition, match=r"READY.*dial"):
        after(State.READY, Trigger.DIAL)


def test_the_diagram_has_every_state_and_trigger():
    drawn = diagram()
    assert all(state.value in drawn for state in State)
    assert all(trigger.value in drawn for trigger in Trigger)
