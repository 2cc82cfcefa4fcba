"""The supervisor is asked to end (SIGTERM) while Redis does not take what it has: the rest goes to disk, or is told as lost."""

import signal
import time

import pytest

from tests.support.dying import SLOWLY
from tests.support.fleet import NOTING, Fleet, spooling
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import Consumer, in_both
from tests.support.waiting import wait_until

#: Numbers per second.
RATE = 5000

#: What the process has for its end; a call to a Redis that stands still costs 5 s of it, where that is to be waited for.
BRIEF = "[supervisor]\nshutdown_timeout = 2\n"
QUEUE = "[queues.trades]\nhigh_watermark = 10_000_000\n"
FULL = "[queues.trades]\nhigh_watermark = 1000\n"
SMALL = "backlog = { messages = 1000 }\n"


def counts(line: str) -> dict[str, int]:
    """Return the numbers of a log line."""
    return {name: int(value) for name, _, value in (word.partition("=") for word in line.split()) if value.isdigit()}


def test_sigterm_with_a_spilled_spool_and_calls_in_flight_exits_with_0_and_the_next_start_delivers_all(tmp_path, valkey, fault):
    stream = NumberedStream(rate=RATE)
    extra = NOTING + SMALL + spooling(tmp_path / "spool")
    fault("SIGTERM while Redis stands still, spilled; started again")
    with numbered_server(stream) as server, Fleet(tmp_path, valkey, server.url, extra=extra, top=BRIEF + QUEUE) as fleet:
        member = fleet.start()
        fleet.flows(beyond=RATE // 2)
        with valkey.stalled():
            member.wait_for_log("spooling_began ")
            stream.wait_for(stream.last + RATE)
            fault.begins()
            member.signal(signal.SIGTERM)
            fault.noticed(lambda: server.recordings[0].left, 60, "the close of the connection")
            assert member.wait() == 0
        left = counts(member.last_line)
        assert (left["lost"], left["dropped"], left["exit_code"]) == (0, 0, 0)
        assert left["spooled"] > RATE
        assert left["read"] == left["enqueued"] + left["spooled"] == member.read == member.kept
        last, before = fleet.start(), stream.last
        fault.ends()
        fault.recovered(lambda: fleet.newest() > before, 60, "a number of the new process")
        assert last.stop() == 0
        assert counts(last.last_line)["spooled"] == 0
        arrived, gaps = fleet.numbers(), fleet.gaps()
    fault.compared(arrived, stream.connections)
    assert in_both(arrived, stream.connections[0]) == list(range(1, member.kept + 1))
    assert [(gap.cause, gap.last_seq) for gap in gaps] == [("restart", member.kept)]


def test_sigterm_on_a_disk_that_dies_with_the_process_exits_with_1_and_records_what_is_lost(tmp_path, shared_valkey, fault):
    """The queue stays full, so Redis takes no message but hears what is lost."""
    stream = NumberedStream(rate=RATE)
    extra = NOTING + SMALL + spooling(tmp_path / "spool")
    fault("SIGTERM with a full queue and a disk that dies (DYNO)")
    with (
        numbered_server(stream) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=BRIEF + FULL) as fleet,
    ):
        member = fleet.start(DYNO="web.1")
        member.wait_for_log("spooling_began ")
        stream.wait_for(stream.last + RATE)
        fault.begins()
        assert member.stop() == 1
        fault.noticed(lambda: fleet.gaps("lost"), 1, "the gap record")
        arrived, gaps = fleet.numbers(), fleet.gaps()
    left = counts(member.last_line)
    assert (left["enqueued"], left["spooled"], left["dropped"], left["exit_code"]) == (1000, 0, 0, 1)
    assert left["lost"] == left["read"] - 1000 == member.kept - 1000 > RATE
    fault.compared(arrived, stream.connections, given_up=range(1001, member.kept + 1))
    (gap,) = gaps
    assert (gap.cause, gap.last_seq, gap.count) == ("lost", 1000, left["lost"])
    assert gap.from_us < gap.to_us


def test_sigterm_while_redis_stands_still_and_nothing_persists_exits_with_1_and_the_loss_is_recorded_by_the_next_start(
    tmp_path, valkey, fault
):
    """The record goes to the disk as a last hope: this disk outlives the process, whatever its settings say."""
    stream = NumberedStream(rate=RATE)
    extra = NOTING + SMALL + spooling(tmp_path / "spool", ", persistent = false")
    fault("SIGTERM while Redis stands still, spool.persistent = false")
    with numbered_server(stream) as server, Fleet(tmp_path, valkey, server.url, extra=extra, top=BRIEF + QUEUE) as fleet:
        member = fleet.start()
        fleet.flows(beyond=RATE // 2)
        with valkey.stalled():
            member.wait_for_log("spooling_began ")
            fault.begins()
            assert member.stop() == 1
        left = counts(member.last_line)
        assert (left["spooled"], left["exit_code"]) == (0, 1)
        assert left["lost"] == left["read"] - left["enqueued"] > 0
        before, last = stream.last, fleet.start()
        fault.ends()
        fault.recovered(lambda: fleet.newest() > before, 60, "a number of the new process")
        (gap,) = fault.noticed(lambda: fleet.gaps("lost"), 60, "the gap record")
        assert last.stop() == 0
        arrived = fleet.numbers()
    # What was under way when it ended has arrived all the same: nobody can know, so it counts as lost.
    came = len(set(arrived).intersection(stream.connections[0]))
    assert came >= left["enqueued"] == gap.last_seq
    assert gap.count == left["lost"]
    fault.compared(arrived, stream.connections, given_up=range(came + 1, member.kept + 1))


def test_sigterm_without_a_spool_and_with_a_full_queue_exits_with_1_and_records_what_is_lost(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    fault("SIGTERM with a full queue and no spool")
    with (
        numbered_server(stream) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=NOTING + SMALL, top=BRIEF + FULL) as fleet,
    ):
        member = fleet.start()
        member.wait_for_log("feed_blocked ")
        wait_until(lambda: fleet.depth() == 1000, 60, "a full queue")
        fault.begins()
        assert member.stop() == 1
        arrived, gaps = fleet.numbers(), fleet.gaps()
    left = counts(member.last_line)
    assert (left["enqueued"], left["spooled"], left["lost"]) == (1000, 0, member.read - 1000)
    fault.compared(arrived, stream.connections, given_up=range(1001, member.read + 1))
    assert [(gap.cause, gap.last_seq, gap.count) for gap in gaps] == [("lost", 1000, left["lost"])]


def test_sigterm_while_the_spool_is_replayed_continues_with_the_next_start(tmp_path, shared_valkey, fault):
    """Three processes, each ended while it brings in what the one before left: all of it arrives, once and in order."""
    stream = NumberedStream(rate=RATE)
    extra = NOTING + SMALL + spooling(tmp_path / "spool")
    fault("SIGTERM within a replay, 3 times")
    with (
        numbered_server(stream) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=BRIEF + FULL) as fleet,
        Consumer(shared_valkey.url, rate=0) as consumer,
    ):
        fleet.start().wait_for_log("spooling_began ")
        stream.wait_for(stream.last + 2 * RATE)
        assert fleet.members[-1].stop() == 0
        stream.pause()
        for _ in range(3):
            before, member = len(consumer.numbers), fleet.start()
            consumer.rate = 4000
            consumer.wait_for(before + 1500)
            consumer.rate = 0
            fault.begins()
            assert member.stop() == 0
        consumer.rate = None
        stream.resume()
        before, last = stream.last, fleet.start()
        fault.recovered(lambda: consumer.newest > before, 60, "a number of the new process")
        assert last.stop() == 0
        consumer.until_empty()
        left = [counts(member.last_line) for member in fleet.members]
    assert [each["lost"] for each in left] == [0] * 5
    assert left[0]["spooled"] > left[1]["spooled"] > left[2]["spooled"] > left[3]["spooled"] > left[4]["spooled"] == 0
    fault.compared(consumer.numbers, stream.connections)
    assert set(range(1, fleet.members[0].kept + 1)).issubset(consumer.numbers)


@pytest.mark.parametrize(
    ("session", "top", "sign"),
    [("Noting", FULL, "feed_blocked "), ("Hanging", QUEUE, "callback_slow ")],
    ids=["full", "hung"],
)
def test_what_came_while_nobody_read_before_a_sigterm_is_within_a_gap_record(tmp_path, valkey, session, top, sign):
    """The server went on sending all the time: what it sent then is in no count, so the record is all that tells of it."""
    sent = []
    stream = NumberedStream(rate=500, note=lambda connection, first, last: sent.append((first, last, time.time_ns() // 1000)))
    extra = f'session = "noting:{session}"\nopen_timeout = 1\nbacklog = {{ messages = 500 }}\n'
    with numbered_server(stream) as server, Fleet(tmp_path, valkey, server.url, extra=extra, top=BRIEF + top) as fleet:
        member = fleet.start()
        member.wait_for_log(sign)
        stream.wait_for(stream.last + 1000)
        member.stop()
        fleet.client.delete("dramatiq:trades")
        fleet.start(extra=NOTING).wait_for_log("connection_ready ")
        wait_until(lambda: fleet.gaps("failover"), 60, "the record")
        gaps = fleet.gaps()
    missing = [block for block in sent if block[0] > member.read and block[0] <= stream.connections[0][-1]]
    assert len(missing) > 10
    untold = [block for block in missing if not any(gap.from_us <= block[2] <= gap.to_us for gap in gaps)]
    assert untold == []


def test_what_a_stopped_leader_left_in_a_shared_folder_is_sent_by_the_standby_however_slow_the_disk(
    tmp_path, shared_valkey, fault
):
    """A leader looks for no spools any more: so the spool is given back before the lead is."""
    stream = NumberedStream(rate=RATE)
    extra = 'session = "tests.support.dying:Dying"\nbacklog = { messages = 1000 }\n' + spooling(tmp_path / "spool")
    top = "[supervisor]\nshutdown_timeout = 4\n[queues.trades]\nhigh_watermark = 1000\nlow_watermark = 500\n"
    fault("SIGTERM with a full queue, one spool folder, a standby")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=top) as fleet:
        leader = fleet.start(DIES_AT=SLOWLY)
        leader.wait_for_log(" lease_taken ")
        standby = fleet.start()
        standby.wait_for_log(" standing_by ")
        leader.wait_for_log(" spooling_began ")
        assert leader.stop() == 0
        assert "spooled=0" not in leader.last_line
        with Consumer(shared_valkey.url) as consumer:
            standby.wait_for_log(" connection_ready ")
            before = stream.last
            wait_until(lambda: consumer.newest > before, 20, "a number of the new leader")
            assert standby.stop() == 0
            consumer.until_empty()
        assert not fleet.gaps("fenced")
    read = int(leader.last_line.split(" read=")[1].split()[0])
    assert set(range(1, read + 1)) <= set(consumer.numbers)
    fault.compared(consumer.numbers, stream.connections)
