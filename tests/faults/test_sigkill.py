"""The supervisor is killed (SIGKILL) under load: what was on disk arrives, in its place, once.

A frame whose `recv` was not committed is lost with the process; nobody can know better. The session notes what it read and what
was handed on where a kill cannot take it back, so this is exact.
"""

from contextlib import nullcontext

from tests.support.fleet import NOTING, Fleet, spooling
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import Consumer
from tests.support.waiting import wait_until

#: Numbers per second.
RATE = 5000

DISK = 'durability = "disk"\n'


def test_sigkill_under_load_with_durability_disk_loses_at_most_the_one_read_under_way_twenty_times(tmp_path, valkey, fault):
    """Every other time Redis stands still: then much is on disk, and calls of a dead process are executed after its end."""
    stream = NumberedStream(rate=RATE)
    extra = NOTING + DISK + spooling(tmp_path / "spool")
    fault('SIGKILL under load, durability = "disk", 20 times')
    with numbered_server(stream) as server, Fleet(tmp_path, valkey, server.url, extra=extra) as fleet:
        for number in range(20):
            member, before = fleet.start(), stream.last
            fault.recovers(lambda before=before: fleet.newest() > before, 60, "a number of the new process")
            wait_until(lambda number=number: len(fleet.gaps()) == number, 60, "the record of the gap before")
            with valkey.stalled() if number % 2 else nullcontext():
                stream.wait_for(stream.last + RATE // 3)
                fault.begins()
                member.kill()
        last, before = fleet.start(), stream.last
        fleet.flows(beyond=before)
        assert last.stop() == 0
        assert "spooled=0 dropped=0 lost=0" in last.last_line
        arrived, gaps = fleet.numbers(), fleet.gaps()
    fault.compared(arrived, stream.connections)
    came = [sorted(set(arrived).intersection(sent)) for sent in stream.connections]
    for numbers, member in zip(came, fleet.members, strict=True):
        assert member.read >= numbers[-1] >= member.kept, "what was handed on was on disk"
    fault.lost = sum(member.read - numbers[-1] for numbers, member in zip(came, fleet.members, strict=True))
    assert [gap.cause for gap in gaps] == ["restart"] * 20
    assert [gap.last_seq for gap in gaps] == list(map(len, came[:-1]))


def test_sigkill_with_durability_memory_loses_what_is_in_memory_and_nothing_that_was_spooled(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    messages = 1000
    extra = NOTING + spooling(tmp_path / "spool") + f"backlog = {{ messages = {messages} }}\n"
    top = "[queues.trades]\nhigh_watermark = 1000\n"
    fault('SIGKILL with a spool that has spilled, durability = "memory"')
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=top) as fleet:
        member = fleet.start()
        member.wait_for_log("spooling_began ")
        stream.wait_for(stream.last + RATE)
        wait_until(lambda: member.kept >= stream.last - RATE // 10, 60, "what was sent to be on disk")
        fault.begins()
        member.kill()
        after = stream.last
        with Consumer(shared_valkey.url) as consumer:
            last = fleet.start()
            fault.recovered(lambda: consumer.newest > after, 60, "a number of the new process")
            assert last.stop() == 0
            assert "lost=0" in last.last_line
            consumer.until_empty()
        arrived = consumer.numbers
        (gap,) = fleet.gaps()
    first = [number for number in arrived if number <= stream.connections[0][-1]]
    hole = sorted(set(range(1, first[-1])).difference(first))
    assert hole == list(range(hole[0], hole[-1] + 1)), "one hole"
    assert len(hole) <= messages + RATE // 10, "more than memory held"
    assert member.read >= first[-1] >= member.kept, "what was handed on was on disk"
    fault.compared(arrived, stream.connections, given_up=hole)
    assert (gap.cause, gap.last_seq) == ("restart", hole[0] - 1), "it begins with what memory held"


def test_what_was_in_memory_at_a_sigkill_is_within_a_gap_record(tmp_path, shared_valkey):
    stream = NumberedStream(rate=RATE)
    extra = spooling(tmp_path / "spool") + "backlog = { messages = 1000 }\n"
    top = "[queues.trades]\nhigh_watermark = 1000\n"
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=top) as fleet:
        member = fleet.start()
        member.wait_for_log("spooling_began ")
        wait_until(lambda: fleet.depth() == 1000, 60, "a full queue")
        stream.wait_for(stream.last + RATE // 5)
        member.kill()
        with Consumer(shared_valkey.url) as consumer:
            fleet.start()
            wait_until(lambda: consumer.newest > 1000, 60, "the spool")
            wait_until(fleet.gaps, 60, "a gap record")
        assert 1001 not in consumer.numbers
        assert min(gap.last_seq for gap in fleet.gaps()) == 1000


def test_the_position_in_the_record_of_a_sigkill_is_not_beyond_the_last_message_that_is_safe(tmp_path, shared_valkey):
    """Who fetches what is missing from the position on would miss what memory held."""
    stream = NumberedStream(rate=RATE)
    top = "[supervisor]\nlease = 1\n[queues.trades]\nhigh_watermark = 1000\n"
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=NOTING, top=top) as fleet:
        member = fleet.start()
        wait_until(lambda: fleet.depth() == 1000, 60, "a full queue")
        member.wait_for_log("feed_blocked ")  # long after what was read last could have been told with a renewal
        wait_until(lambda: position_in(fleet) > 0, 60, "a renewal of the lease")
        member.kill()
        fleet.start()
        (gap,) = wait_until(fleet.gaps, 60, "the record")
    assert gap.last_seq == 1000
    assert 0 < gap.position <= 1000


def position_in(fleet):
    """Return what Redis holds of the leader's position."""
    return int(fleet.client.hget("dramatiq:__feed__..trades", "position") or 0)
