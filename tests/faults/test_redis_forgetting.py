"""A Redis that was emptied while a `gap_actor` waits for word, or only a standby looks: it is told all the same."""

import re

from tests.support.fault_feeds import QUEUE
from tests.support.fault_run import leader_and_standby, supervising
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import messages_in, numbers_of
from tests.support.redis_proxy import RedisProxy
from tests.support.waiting import wait_until

RATE = 2000

#: A lease that is renewed three times a second.
QUICK_LEASE = f"{QUEUE}[supervisor]\nlease = 1\n"


def test_a_flush_is_told_to_the_gap_actor_before_anything_that_comes_after_it(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    with (
        numbered_server(stream) as server,
        supervising(tmp_path, shared_valkey, server.url, extra='gap_actor = "backfill"\n', top=QUICK_LEASE) as run,
    ):
        fault("FLUSHALL with a gap_actor, twice (lost: what it forgot, recorded)", run.memory)
        for _ in (1, 2):
            run.flows(beyond=RATE // 4)
            known = run.newest()
            fault.begins()
            run.client.flushall()
            fault.noticed(lambda: run.depth() > 0, 60, "the first message")
            first, *_ = messages_in(run.client)
            assert first["actor_name"] == "backfill"
            [told] = first["args"]
            [gap] = wait_until(run.gaps, 60, "the record")
            assert {**gap, **told} == gap
            fault.recovered(lambda: run.depth() > RATE // 4, 60, "the next numbers")
    told, *rest = messages_in(run.client)
    assert [message["actor_name"] for message in rest] == ["handle"] * len(rest), "told twice"
    arrived = numbers_of(rest)
    assert arrived[0] > known
    assert f"had confirmed number {arrived[0] - 1} and knows of 0" in gap["detail"]
    fault.compared(arrived, stream.connections, given_up=range(1, arrived[0]))


def test_a_flush_that_lets_a_standby_take_over_leaves_nothing_out_of_the_records(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    with (
        RedisProxy(shared_valkey.path) as proxy,
        numbered_server(stream) as server,
        leader_and_standby(tmp_path, shared_valkey, server.url, top=QUICK_LEASE, leader_url=proxy.url) as (leader, standby),
    ):
        fault("FLUSHALL while a standby looks and the leader does not (lost: forgotten and fenced, recorded)", standby.memory)
        standby.flows(beyond=RATE)
        proxy.hold()
        fault.begins()
        known = standby.newest()
        standby.client.flushall()
        fault.recovered(lambda: standby.told("lease_taken "), 2, "the standby's lead")
        proxy.release()
        leader.wait_for_log("cause=fenced ")
        wait_until(lambda: len(stream.connections) == 2, 60, "its connection")
        standby.flows(beyond=stream.connections[1][0] + RATE // 4)
        assert leader.stop() == 0
        by_standby, by_leader = wait_until(lambda: _pair(standby.gaps()), 60, "both records")
        [fenced] = standby.gaps("fenced")
    assert by_standby["producer"] == by_leader["producer"] == fenced["producer"]
    confirmed = int(re.search(r"had confirmed number (\d+) and knows of 0", by_leader["detail"])[1])
    first, last = map(int, re.search(r"numbers (\d+) to (\d+)", fenced["detail"]).groups())
    assert known <= confirmed == first - 1
    assert fenced["count"] == last - confirmed
    assert re.search(rf"feed_drained .*read={last} ", leader.log), "of what it had read, something is in no record"
    assert by_leader["to_us"] - by_leader["from_us"] > 1_000_000, "when the forgotten messages came is not within it"
    fault.compared(standby.numbers(), stream.connections, given_up=stream.connections[0][:last])


def _pair(gaps):
    """Return two records, that of the process which never had the numbers first."""
    return sorted(gaps, key=lambda gap: gap["from_us"]) if len(gaps) == 2 else None
