"""A backlog that is full: what is given up is recorded, all of it and nothing else; a disk that is full is no other thing."""

import re
from collections.abc import Iterator

import pytest

from tests.support.fleet import NOTING, Fleet, Member, spooling
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import Consumer
from tests.support.spools import small_disk
from tests.support.waiting import wait_until

#: Numbers per second.
RATE = 5000

FULL = "[queues.trades]\nhigh_watermark = 1000\nlow_watermark = 500\n"
SMALL = "backlog = { messages = 1000 }\n"

#: A second's worth: less passes on a busy machine without a fault of ours, and would be an episode of its own.
SECOND = f"backlog = {{ messages = {RATE} }}\n"

_DROPS = re.compile(r"frames_dropped .*?reason=(\w+) .*?count=(\d+) first_seq=(\d+) last_seq=(\d+)")


def drops_of(member: Member) -> Iterator[tuple[str, int, int, int]]:
    """Yield (reason, count, first, last) of every episode in the log."""
    for reason, *numbers in _DROPS.findall(member.log):
        count, first, last = map(int, numbers)
        yield reason, count, first, last


def assert_recorded(fleet: Fleet, member: Member, lost: list[int], policy: str) -> None:
    """The episodes in the log hold exactly what is lost, and each has a record (on one connection a seq is a number)."""
    episodes = list(drops_of(member))
    assert {reason for reason, *_ in episodes} == {policy}
    assert sum(count for _, count, *_ in episodes) == len(lost)
    left = set(lost)
    for _, count, first, last in episodes:  # of which two may reach into each other where chunks were dropped amid others
        inside = [number for number in lost if first <= number <= last]
        assert {first, last} <= set(inside), (first, last, inside[:1], inside[-1:])
        assert len(inside) >= count, (first, last, count)
        left.difference_update(inside)
    assert not left, f"lost without a word: {sorted(left)[:10]} ({len(left)})"
    assert member.told(" drops_began ") == len(episodes)
    records = fleet.gaps("dropped")
    assert [(gap.last_seq + 1, gap.count) for gap in records] == [(first, count) for _, count, first, _ in episodes]
    assert all(gap.from_us <= gap.to_us for gap in records)
    assert f"dropped={len(lost)} lost=0" in member.last_line


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_what_has_no_place_while_redis_stands_still_is_dropped_and_recorded_and_nothing_else_is(tmp_path, valkey, fault, policy):
    stream = NumberedStream(rate=RATE)
    extra = NOTING + SECOND + f'overflow = "{policy}"\n'
    fault(f"Redis stalled 2 s, twice, overflow {policy}")
    with numbered_server(stream) as server, Fleet(tmp_path, valkey, server.url, extra=extra) as fleet:
        member = fleet.start()
        for _ in range(2):
            fleet.flows(beyond=stream.last)
            began = member.told(" drops_began ")
            with valkey.stalled():
                fault.begins()
                fault.noticed(lambda began=began: member.told(" drops_began ") > began, 60, "the first drop in the log")
                stream.wait_for(stream.last + 2 * RATE)
            fault.ends()
            before = stream.last
            fault.recovered(lambda before=before: fleet.newest() > before, 60, "what came after")
        assert member.stop() == 0
        arrived = fleet.numbers()
        lost = sorted(set(range(1, member.kept + 1)).difference(arrived))
        fault.compared(arrived, stream.connections, given_up=lost)
        assert len(stream.connections) == 1
        assert_recorded(fleet, member, lost, policy)
        assert len(list(drops_of(member))) == 2, "one report an episode"


@pytest.mark.parametrize("policy", ["block", "drop_newest", "drop_oldest"])
def test_a_disk_that_is_full_then_drained_then_full_again_loses_only_what_the_policy_says(tmp_path, shared_valkey, fault, policy):
    stream = NumberedStream(rate=RATE, size=200)
    with (
        small_disk(tmp_path) as disk,
        numbered_server(stream) as server,
        Consumer(shared_valkey.url, rate=0) as consumer,
    ):
        extra = NOTING + SMALL + spooling(disk) + f'overflow = "{policy}"\n'
        fault(f"disk full in the spool, twice, overflow {policy}")
        with Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=FULL) as fleet:
            member = fleet.start()
            sign = " feed_blocked " if policy == "block" else " drops_began "
            for _ in range(2):
                told = member.told(sign)
                fault.begins()
                fault.noticed(lambda told=told: member.told(sign) > told, 60, "the full disk in the log")
                before = stream.last if policy == "block" else stream.last + RATE
                stream.wait_for(before)
                consumer.rate = None
                fault.ends()
                fault.recovered(lambda before=before: consumer.newest > before, 60, "all that was sent")
                consumer.rate = 0
            consumer.rate = None
            stream.pause()
            wait_until(lambda: member.kept == stream.last, 60, "the last number to be read")
            wait_until(lambda: consumer.newest == stream.last or policy != "block", 60, "the last number")
            assert member.stop() == 0
            consumer.until_empty()
            lost = sorted(set(range(1, member.kept + 1)).difference(consumer.numbers))
            fault.compared(consumer.numbers, stream.connections, whole=[0], given_up=lost)
            assert len(stream.connections) == 1
            if policy == "block":
                assert not lost
                assert member.told(" feed_unblocked ") >= 2
            else:
                assert lost
                assert_recorded(fleet, member, lost, policy)
