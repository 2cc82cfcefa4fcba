"""Acks that wait: in order, with their number, bounded."""

from ingest.connection.acks import Acks


def test_they_leave_in_order_and_only_up_to_what_is_settled():
    acks = Acks()
    for seq in (1, 2, 2, 5):
        acks.add(seq, [f"ack {seq}", b"more"])
    assert acks.next_seq == 1
    assert acks.take(0) == []
    assert acks.take(2) == ["ack 1", b"more", "ack 2", b"more", "ack 2", b"more"]
    assert (acks.next_seq, len(acks)) == (5, 1)
    assert acks.take(4) == []
    assert acks.take(9) == ["ack 5", b"more"]
    assert (acks.next_seq, len(acks)) == (None, 0)


def test_what_was_settled_before_leaves_at_once():
    acks = Acks()
    acks.add(0, ["nothing was emitted"])
    assert acks.take(0) == ["nothing was emitted"]


def test_a_list_that_is_changed_later_changes_nothing():
    acks, frames = Acks(), ["a"]
    acks.add(1, frames)
    frames.append("b")
    assert acks.take(1) == ["a"]


def test_there_is_room_again_when_some_have_left():
    acks = Acks(most=10_000)
    seq = 0
    while acks.has_room:
        seq += 1
        acks.add(seq, ["x" * 1000])
    assert seq < 10
    acks.take(1)
    assert acks.has_room
    acks.take(seq)
    assert acks._size == 0  # whatever was counted in is counted out again
