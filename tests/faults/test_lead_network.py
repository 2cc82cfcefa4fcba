"""A leader that is cut from Redis and from nothing else: what it does, and what becomes of it when it is back."""

import pytest

from tests.support.fault_feeds import PATIENT
from tests.support.fleet import NOTING, Fleet, assert_dropped_after, spooling
from tests.support.half_open import HalfOpenProxy
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.waiting import wait_until

#: Numbers per second.
RATE = 5000

LEASE = 2.0
SLACK = 1.0
QUEUE = "[queues.trades]\nhigh_watermark = 10_000_000\n"
TOP = f"[supervisor]\nlease = {LEASE}\nshutdown_timeout = 5\n{QUEUE}"


@pytest.mark.parametrize("spool", [False, True], ids=["without a spool", "with a spool each"])
def test_a_leader_cut_from_redis_is_replaced_within_the_lease_and_what_it_read_meanwhile_is_dropped_and_recorded(
    tmp_path, shared_valkey, fault, spool
):
    stream = NumberedStream(rate=RATE)
    fault(f"leader cut from Redis, then healed{' (spool)' if spool else ''}")
    extras = [NOTING + "backlog = { messages = 2000 }\n"] * 2
    if spool:
        (tmp_path / "other").mkdir()
        extras = [
            extra + spooling(folder) for extra, folder in zip(extras, (tmp_path / "spool", tmp_path / "other"), strict=True)
        ]
    with (
        numbered_server(stream) as server,
        HalfOpenProxy(shared_valkey.path) as one,
        HalfOpenProxy(shared_valkey.path) as other,
        Fleet(tmp_path, shared_valkey, server.url, top=TOP) as fleet,
    ):
        leader = fleet.start(redis_url=one.redis_url, extra=extras[0])
        leader.wait_for_log(" lease_taken ")
        standby = fleet.start(redis_url=other.redis_url, extra=extras[1])
        standby.wait_for_log(" standing_by ")
        fleet.flows(beyond=RATE)
        one.swallow()
        fault.begins()
        fault.noticed(lambda: standby.leads, LEASE + SLACK, "the standby to lead")
        before = stream.last
        fault.recovered(lambda: fleet.newest() > before, SLACK, "a number of the new leader")
        one.heal()
        leader.wait_for_log(" lease_lost ")
        leader.wait_for_log(" standing_by ")
        wait_until(lambda: fleet.gaps("fenced"), 60, "the record of what the old leader dropped")
        fleet.flows(beyond=stream.last)
        assert leader.stop() == 0
        assert standby.stop() == 0
        arrived, fenced, taken_over = fleet.numbers(), fleet.gaps("fenced"), fleet.gaps("failover")
    came = set(arrived).intersection(stream.connections[0])
    dropped = [number for number in stream.connections[0] if number <= leader.kept and number not in came]
    fault.compared(arrived, stream.connections, given_up=dropped)
    assert dropped
    assert_dropped_after(len(came), len(dropped), fenced)
    assert [gap.last_seq for gap in taken_over] == [len(came)]


def test_a_leader_that_lost_redis_and_comes_back_before_anyone_took_over_simply_goes_on(tmp_path, shared_valkey, fault):
    """Cut for longer than a lease, with nobody else there."""
    stream = NumberedStream(rate=RATE)
    fault("leader cut from Redis 4 s, lease 2 s, nobody else")
    with (
        numbered_server(stream) as server,
        HalfOpenProxy(shared_valkey.path) as proxy,
        Fleet(tmp_path, shared_valkey, server.url, extra=NOTING, top=TOP) as fleet,
    ):
        leader = fleet.start(redis_url=proxy.redis_url)
        fleet.flows(beyond=RATE)
        proxy.swallow()
        fault.begins()
        stream.wait_for(stream.last + 4 * RATE)
        proxy.heal()
        fault.ends()
        before = stream.last
        fault.noticed(lambda: leader.told(" broker_unavailable "), 6, "the outage in the log")
        fault.recovered(lambda: fleet.newest() > before, 60, "what was read meanwhile")
        assert leader.stop() == 0
        assert (leader.told(" lease_taken "), leader.told(" lease_lost ")) == (1, 0)
        arrived = fleet.numbers()
        assert not fleet.gaps()
    fault.compared(arrived, stream.connections)
    assert len(stream.connections) == 1


def test_a_leader_whose_connections_are_cut_for_less_than_a_lease_goes_on_though_another_stands_by(
    tmp_path, shared_valkey, fault
):
    stream = NumberedStream(rate=RATE)
    fault("leader cut from Redis 1 s, lease 5 s, one stands by")
    with (
        numbered_server(stream) as server,
        HalfOpenProxy(shared_valkey.path) as proxy,
        Fleet(tmp_path, shared_valkey, server.url, extra=NOTING, top=QUEUE) as fleet,
    ):
        leader = fleet.start(redis_url=proxy.redis_url)
        leader.wait_for_log(" lease_taken ")
        standby = fleet.start()
        standby.wait_for_log(" standing_by ")
        fleet.flows(beyond=RATE)
        proxy.swallow()
        fault.begins()
        stream.wait_for(stream.last + RATE)
        proxy.heal()
        fault.ends()
        before = stream.last
        fault.recovered(lambda: fleet.newest() > before, 60, "what was read meanwhile")
        assert not standby.leads
        assert [member.stop() for member in (standby, leader)] == [0, 0]
        assert (leader.told(" lease_taken "), leader.told(" lease_lost ")) == (1, 0)
        arrived = fleet.numbers()
        assert not fleet.gaps()
    fault.compared(arrived, stream.connections)
    assert len(stream.connections) == 1


def test_one_feed_name_with_two_urls_is_told_loudly_with_the_remedy_and_the_second_takes_over_once_nobody_leads(
    tmp_path, shared_valkey, fault
):
    stream, another = NumberedStream(rate=RATE), NumberedStream(rate=RATE, first=1_000_001)
    fault("one feed name with two URLs")
    with (
        numbered_server(stream) as server,
        numbered_server(another) as second,
        Fleet(tmp_path, shared_valkey, server.url, extra=NOTING, top=TOP) as fleet,
    ):
        leader = fleet.start()
        fleet.flows(beyond=RATE)
        fault.begins()
        stranger = fleet.start(url=second.url)
        fault.noticed(lambda: stranger.told(r"ERROR +feed_name_taken "), 60, "the clash in the log")
        assert (
            stranger.told(r"feed_name_taken .*give one another name, or keep the supervisors apart with \[supervisor\] group")
            == 1
        )
        fleet.flows(beyond=stream.last)
        assert not second.recordings
        assert leader.stop() == 0
        fault.ends()
        fault.recovered(lambda: fleet.newest() > 1_000_000, 1.5, "the second's first number")
        assert stranger.told(" feed_name_taken ") == 1
        assert stranger.stop() == 0
        arrived = fleet.numbers()
    fault.compared(arrived, [*stream.connections, *another.connections])
    assert set(range(1, leader.read + 1)).issubset(arrived)


@pytest.mark.quick
def test_a_start_after_flushall_records_a_gap_that_names_the_old_producer(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    extra = PATIENT + NOTING + spooling(tmp_path / "spool")
    fault("stop, FLUSHALL, start")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=TOP) as fleet:
        first = fleet.start()
        fleet.flows(beyond=RATE // 5)
        producer = first.log.split(" producer=")[1].split()[0]
        assert first.stop() == 0
        fleet.client.flushall()
        fault.begins()
        last, before = fleet.start(), stream.last
        fault.noticed(lambda: fleet.gaps("forgotten"), 60, "the record")
        fault.recovered(lambda: fleet.newest() > before, 60, "a number of the new process")
        assert last.stop() == 0
        arrived = fleet.numbers()
        (gap,) = fleet.gaps("forgotten")
    assert gap.producer == producer
    fault.compared(arrived, stream.connections[1:])
