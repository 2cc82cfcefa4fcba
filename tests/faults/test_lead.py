"""Two supervisors of one feed: one leads, and another takes over when it ends, dies, or seems to."""

import signal
import time

import pytest

from tests.support.fault_feeds import PATIENT
from tests.support.fleet import KEY, NOTING, Fleet, assert_dropped_after, spooling
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import numbers_of
from tests.support.waiting import wait_until

#: Numbers per second.
RATE = 5000

LEASE = 2.0
QUEUE = "[queues.trades]\nhigh_watermark = 10_000_000\n"
TOP = f"[supervisor]\nlease = {LEASE}\nshutdown_timeout = 5\n{QUEUE}"

#: What a standby's pause between two attempts and a busy machine add to the time of a lease.
SLACK = 1.0


def leader_and_standby(fleet, **options):
    """Start a leader and, when it leads, another that stands by."""
    leader = fleet.start(**options)
    leader.wait_for_log(" lease_taken ")
    standby = fleet.start(**options)
    standby.wait_for_log(" standing_by ")
    return leader, standby


def test_a_standby_says_once_whom_it_waits_for_and_does_not_connect(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, top=TOP) as fleet:
        leader, standby = leader_and_standby(fleet)
        producer = leader.log.split(" producer=")[1].split()[0]
        time.sleep(LEASE)  # some attempts of the standby, of which nothing is told
        assert standby.told(f" standing_by feed=trades leader={producer} ") == 1
        assert standby.told(" standing_by ") == 1
        assert len(server.recordings) == 1
        assert standby.stop() == 0
        assert leader.stop() == 0
        arrived = fleet.numbers()
        assert not fleet.gaps()
    fault.compared(arrived, stream.connections)


@pytest.mark.parametrize("lease", [LEASE, 5.0])
def test_after_a_sigkill_of_the_leader_the_standby_goes_on_within_the_lease(tmp_path, shared_valkey, fault, lease):
    stream = NumberedStream(rate=RATE)
    top = QUEUE if lease == 5.0 else TOP
    fault(f"leader killed (SIGKILL), lease {lease:g} s")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=NOTING, top=top) as fleet:
        leader, standby = leader_and_standby(fleet)
        fleet.flows(beyond=RATE)
        fault.begins()
        leader.kill()
        before = stream.last
        fault.noticed(lambda: standby.leads, lease + SLACK, "the standby to lead")
        fault.recovered(lambda: fleet.newest() > before, SLACK, "a number of the new leader")
        assert standby.stop() == 0
        arrived = fleet.numbers()
        (gap,) = fleet.gaps()
    fault.compared(arrived, stream.connections)
    came = set(arrived).intersection(stream.connections[0])
    assert (gap.cause, gap.last_seq) == ("failover", len(came))
    assert 0 < gap.to_us - gap.from_us < (2 * lease + SLACK) * 1e6
    fault.lost = leader.read - max(came)


@pytest.mark.parametrize(
    ("within", "patience"),
    [
        pytest.param(1, "", id="a second"),
        pytest.param(20, PATIENT, marks=pytest.mark.quick, id="far less than the lease, also on a busy machine"),
    ],
)
def test_after_an_orderly_stop_of_the_leader_the_standby_goes_on_within(tmp_path, shared_valkey, fault, within, patience):
    """The lease lasts a minute: nobody waits for its end."""
    stream = NumberedStream(rate=RATE)
    fault("leader stopped (SIGTERM)")
    extra, top = patience + NOTING, f"[supervisor]\nlease = 60.0\n{QUEUE}"
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=top) as fleet:
        leader, standby = leader_and_standby(fleet)
        fleet.flows(beyond=RATE // 5)
        fault.begins()
        leader.signal(signal.SIGTERM)
        fault.noticed(lambda: standby.leads, within, "the standby to lead")
        before = stream.last
        fault.recovered(lambda: fleet.newest() > before, within, "a number of the new leader")
        assert leader.wait() == 0
        assert standby.stop() == 0
        arrived = fleet.numbers()
        (gap,) = fleet.gaps()
    fault.compared(arrived, stream.connections)
    assert set(range(1, leader.read + 1)).issubset(arrived)
    assert (gap.cause, gap.last_seq, gap.position) == ("failover", leader.read, leader.read)
    assert 0 < gap.to_us - gap.from_us < 2e6 * within


@pytest.mark.parametrize("folders", ["no spool", "a spool each", "one spool folder"])
def test_a_leader_that_was_paused_cannot_enqueue_any_more_and_what_it_held_is_dropped_and_recorded(
    tmp_path, shared_valkey, fault, folders
):
    stream = NumberedStream(rate=RATE)
    fault(f"leader paused (SIGSTOP {LEASE + 1:g} s), {folders}")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, top=TOP) as fleet:
        extras = [NOTING, NOTING]
        if folders != "no spool":
            other = fleet.spool if folders == "one spool folder" else tmp_path / "other"
            other.mkdir(exist_ok=True)
            extras = [NOTING + spooling(fleet.spool), NOTING + spooling(other)]
        leader = fleet.start(extra=extras[0])
        leader.wait_for_log(" lease_taken ")
        standby = fleet.start(extra=extras[1])
        standby.wait_for_log(" standing_by ")
        fleet.flows(beyond=RATE)
        with leader.stopped():
            fault.begins()
            fault.noticed(lambda: standby.leads, LEASE + SLACK, "the standby to lead")
            before = stream.last
            fault.recovered(lambda: fleet.newest() > before, SLACK, "a number of the new leader")
            time.sleep(1)  # how much longer it is paused: there is something for it to read
        leader.wait_for_log(" lease_lost ")
        leader.wait_for_log(" standing_by ")
        wait_until(lambda: fleet.gaps("fenced"), 60, "the record of what the old leader dropped")
        assert not leader.leads
        fleet.flows(beyond=stream.last)
        assert leader.stop() == 0
        assert standby.stop() == 0
        arrived, fenced, taken_over = fleet.numbers(), fleet.gaps("fenced"), fleet.gaps("failover")
    came = set(arrived).intersection(stream.connections[0])
    dropped = [number for number in stream.connections[0] if number <= leader.kept and number not in came]
    fault.compared(arrived, stream.connections, given_up=dropped)
    assert_dropped_after(len(came), len(dropped), fenced)
    assert [gap.last_seq for gap in taken_over] == [len(came)]
    assert f"dropped={len(dropped)} lost=0" in leader.last_line


def test_with_on_fenced_deliver_what_a_paused_leader_held_comes_late_and_marked(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    extra = NOTING + 'on_fenced = "deliver"\n'
    fault('leader paused (SIGSTOP), on_fenced = "deliver"')
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=TOP) as fleet:
        leader, standby = leader_and_standby(fleet)
        fleet.flows(beyond=RATE)
        with leader.stopped():
            fault.begins()
            fault.noticed(lambda: standby.leads, LEASE + SLACK, "the standby to lead")
            before = stream.last
            fault.recovered(lambda: fleet.newest() > before, SLACK, "a number of the new leader")
            time.sleep(1)  # how much longer it is paused: there is something for it to read
        leader.wait_for_log(" standing_by ")
        assert leader.stop() == 0
        assert standby.stop() == 0
        messages = fleet.messages()
        assert not fleet.gaps("fenced")
    late = [message for message in messages if message["options"]["frame"].get("late")]
    in_time = [message for message in messages if not message["options"]["frame"].get("late")]
    assert {message["options"]["frame"]["feed"] for message in late} == {"trades"}
    fault.compared(numbers_of(in_time), stream.connections)
    came = set(numbers_of(in_time)).intersection(stream.connections[0])
    read = [number for number in stream.connections[0] if number <= leader.kept]
    assert numbers_of(late) == read[len(came) :], "all that it had read, in order, once"
    assert late
    assert len(messages) == len({message["message_id"] for message in messages}) == fleet.client.llen(KEY)


def test_a_killed_leader_started_again_within_a_second_beside_its_standby_in_one_folder_one_of_them_leads_at_once(
    tmp_path, shared_valkey, fault
):
    stream = NumberedStream(rate=RATE)
    extra = NOTING + 'durability = "disk"\n' + spooling(tmp_path / "spool")
    fault("leader killed, started again within 1 s, one spool folder")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=QUEUE) as fleet:
        leader, standby = leader_and_standby(fleet)
        fleet.flows(beyond=RATE)
        fault.begins()
        leader.kill()
        before = stream.last
        again = fleet.start()
        fault.noticed(lambda: standby.leads or again.leads, 1.5, "one of the two to lead, well under the 5 s of the lease")
        fault.recovered(lambda: fleet.newest() > before, 2, "a number of the new leader")
        follower = again if standby.leads else standby
        follower.wait_for_log(" standing_by ")
        assert not follower.leads
        assert [member.stop() for member in (again, standby)] == [0, 0]
        arrived, gaps = fleet.numbers(), fleet.gaps()
    fault.compared(arrived, stream.connections)
    came = set(arrived).intersection(stream.connections[0])
    assert leader.read >= max(came) >= leader.kept
    fault.lost = leader.read - max(came)
    assert gaps[0].last_seq == len(came)


def test_a_process_started_again_on_its_spool_leads_at_once(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    extra = NOTING + 'durability = "disk"\n' + spooling(tmp_path / "spool")
    fault("leader killed, started again alone on its spool, lease 60 s")
    top = f"[supervisor]\nlease = 60.0\n{QUEUE}"
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=top) as fleet:
        leader = fleet.start()
        fleet.flows(beyond=RATE)
        fault.begins()
        leader.kill()
        before, again = stream.last, fleet.start()
        fault.noticed(lambda: again.leads, 3, "the lead, well under the 60 s of the lease")
        fault.recovered(lambda: fleet.newest() > before, 3, "a number of the new process")
        assert again.stop() == 0
        arrived = fleet.numbers()
        (gap,) = fleet.gaps()
    fault.compared(arrived, stream.connections)
    came = set(arrived).intersection(stream.connections[0])
    assert leader.read >= max(came) >= leader.kept
    fault.lost = leader.read - max(came)
    assert (gap.cause, gap.last_seq) == ("restart", len(came))
