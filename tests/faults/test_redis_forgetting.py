"""A Redis that was emptied while nobody, somebody else, or a `gap_actor` looked: it is told all the same."""

import json
from contextlib import suppress

from tests.support.fault_feeds import QUEUE, feeds_toml
from tests.support.fault_run import leader_and_standby, supervising
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import compare, messages_in, numbers_of
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

RATE = 2000

#: A lease that is renewed three times a second.
QUICK_LEASE = f"{QUEUE}[supervisor]\nlease = 1\n"


def test_a_flush_between_a_stop_and_the_next_start_is_a_gap_that_names_the_old_producer(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    extra = f'spool = {{ directory = "{tmp_path}" }}\n'
    with numbered_server(stream) as server:
        with supervising(tmp_path, shared_valkey, server.url, extra=extra) as first:
            first.flows(beyond=RATE // 4)
        before = messages_in(first.client)[0]["message_id"].rsplit("-", 1)[0]
        first.client.flushall()
        with supervising(tmp_path, shared_valkey, server.url, extra=extra) as second:
            fault("FLUSHALL between a stop and the next start", second.memory)
            fault.begins()
            fault.noticed(lambda: second.told("gap_found "), 10, "that it forgot")
            fault.recovered(second.newest, 10, "the next numbers")
            second.flows(beyond=stream.connections[1][0] + RATE // 4)
            [gap] = second.gaps()
            assert gap["producer"] == before
    fault.compared(second.numbers(), [[], stream.connections[1]])
    fault.name += f": it forgot {stream.connections[0][-1]}, recorded"


def test_a_flush_is_told_to_the_gap_actor_before_anything_that_comes_after_it(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    with (
        numbered_server(stream) as server,
        supervising(tmp_path, shared_valkey, server.url, extra='gap_actor = "backfill"\n', top=QUICK_LEASE) as run,
    ):
        fault("FLUSHALL with a gap_actor", run.memory)
        for _ in (1, 2):
            run.flows(beyond=RATE // 4)
            known = run.newest()
            fault.begins()
            run.client.flushall()
            fault.noticed(lambda: run.depth() > 0, 5, "the first message")
            first, *_ = messages_in(run.client)
            assert first["actor_name"] == "backfill"
            [told] = first["args"]
            [gap] = run.gaps()
            assert {**gap, **told} == gap
            fault.recovered(lambda: run.depth() > RATE // 4, 5, "the next numbers")
            stream.resume()
    told, *rest = messages_in(run.client)
    assert [message["actor_name"] for message in rest] == ["handle"] * len(rest), "told twice"
    arrived = numbers_of(rest)
    assert arrived[0] > known
    fault.compared(arrived, [[number for number in stream.connections[0] if number >= arrived[0]]])


def test_a_flush_with_a_standby_loses_nothing_but_what_is_recorded_whoever_leads_then(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    with (
        numbered_server(stream) as server,
        leader_and_standby(tmp_path, shared_valkey, server.url, top=QUICK_LEASE) as (leader, standby),
    ):
        fault("FLUSHALL with a standby", standby.memory)
        for times in (1, 2, 3, 4):
            standby.flows(beyond=stream.newest + RATE // 4)
            flushed = standby.newest()
            fault.begins()
            standby.client.flushall()
            told = "gap_found .*cause=forgotten"
            count = lambda: len(
                [1 for log in (leader.log, standby.supervisor.log) for line in log.splitlines() if "cause=forgotten" in line]
            )
            fault.noticed(lambda times=times: count() >= times, 5, "that it forgot")
            fault.recovered(lambda flushed=flushed: standby.newest() > flushed, 5, "newer numbers")
            standby.flows(beyond=stream.newest + RATE // 4)
            print(standby.gaps("forgotten"), standby.gaps("failover"), standby.gaps("fenced"))
            print(leader.log, standby.supervisor.log)
        assert leader.stop() == 0
    print(compare(standby.numbers(), stream.connections))
    assert 0
