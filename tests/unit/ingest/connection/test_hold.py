"""The order of an operator to one feed."""

from ingest.connection.hold import Hold


def test_a_change_wakes_and_repeating_it_does_not():
    woken = []
    hold = Hold(lambda: woken.append(1))
    hold.set(None)
    assert not hold
    assert woken == []
    hold.set("")  # nobody knows who
    hold.set("ann")
    assert hold
    assert (hold.by, len(woken)) == ("ann", 1)
    hold.set(None)
    assert not hold
    assert len(woken) == 2
