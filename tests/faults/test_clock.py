"""The system's clock is set while the supervisor runs: it tells the time, and decides nothing."""

import pytest

from tests.support.faked_time import FakedTime
from tests.support.fault_feeds import PATIENT
from tests.support.fleet import NOTING, Fleet
from tests.support.numbered import NumberedStream, numbered_server

#: Numbers per second.
RATE = 5000

LEASE = 1.0
TOP = f"[supervisor]\nlease = {LEASE}\n[queues.trades]\nhigh_watermark = 10_000_000\nrate_limit = 20_000\n"

HOUR_US = 3600 * 1_000_000


def test_a_clock_that_is_set_forward_and_back_an_hour_is_noticed_by_nobody(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    clock = FakedTime(tmp_path)
    fault("clock set 1 h forward, 2 h back, right")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=NOTING, top=TOP) as fleet:
        leader = fleet.start(**clock.environ)
        fleet.flows(beyond=RATE // 2)
        standby = fleet.start()
        standby.wait_for_log(" standing_by ")
        for offset in ("+1h", "-1h", "+0"):
            clock.set(offset)
            fault.begins()
            before = stream.last
            fault.recovered(lambda before=before: fleet.newest() > before, 60, "what was sent after it")
            stream.wait_for(before + 2 * RATE)  # two seconds: longer than all deadlines and the lease
        assert not standby.leads
        assert [member.stop() for member in (standby, leader)] == [0, 0]
        messages, gaps = fleet.messages(), fleet.gaps()
        arrived = fleet.numbers()
    fault.compared(arrived, stream.connections)
    assert not gaps
    assert len(stream.connections) == 1
    assert not leader.told(r" (connection_lost (?!.*reason=Stopped)|lease_lost |broker_unavailable |feed_blocked )")
    times = [message["options"]["frame"]["received_us"] for message in messages]
    assert max(times) - min(times) > 1.9 * HOUR_US, "the clock was not set"


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_a_clock_that_is_set_within_an_outage_leaves_one_record_whose_end_is_not_before_its_beginning(
    tmp_path, shared_valkey, fault, offset
):
    stream = NumberedStream(rate=RATE)
    clock = FakedTime(tmp_path)
    fault(f"clock set {offset} within an outage")

    def refuse(client):
        clock.set(offset)
        client.refuse(503)

    with (
        numbered_server(stream, stream, refuse) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=PATIENT + NOTING, top=TOP) as fleet,
    ):
        member = fleet.start(**clock.environ)
        fleet.flows(beyond=RATE // 2)
        fault.begins()
        stream.cut()
        before = stream.last
        fault.recovered(lambda: fleet.newest() > before, 60, "the next connection")
        fault.noticed(fleet.gaps, 60, "the record")
        assert member.stop() == 0
        arrived = fleet.numbers()
        (gap,) = fleet.gaps()
    fault.compared(arrived, stream.connections)
    came = set(arrived).intersection(stream.connections[0])
    assert (gap.cause, gap.last_seq, gap.position) == ("disconnected", len(came), max(came))
    assert gap.to_us >= gap.from_us
    assert (gap.to_us - gap.from_us > HOUR_US) is (offset == "+1h")
