"""Every interval in which frames may have been missed is one record, with its true ends, and one message to the gap actor."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext

import pytest

from settings.wire import message_id
from tests.support.command_line import ROOT
from tests.support.fault_feeds import PATIENT
from tests.support.fleet import NOTING, Fleet
from tests.support.numbered import NumberedStream, number_of, numbered_server
from tests.support.queue_content import numbers_of
from tests.support.waiting import wait_until

#: Numbers per second.
RATE = 2000

GAP_ACTOR = 'gap_actor = "backfill"\n'

VERBS = ["cut", "close", "hang_up"]


def listed(member_folder, redis_url):
    """Return what ``python -m ingest gaps --json`` prints."""
    environment = {**os.environ, "REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ingest", "gaps", "--json"]
    done = subprocess.run(command, cwd=member_folder, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("stalls", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["Redis healthy", "Redis stalled"])
@pytest.mark.quick
def test_every_disconnect_is_one_record_with_true_ends_and_one_message_in_the_queue(tmp_path, valkey, fault, stalls):
    """... also where Redis stands still from before the disconnect until the feed has long been back."""
    stream = NumberedStream(rate=RATE)
    fault(f"3 disconnects{', each within a stall of Redis' if stalls else ''}")
    with numbered_server(stream) as server, Fleet(tmp_path, valkey, server.url, extra=NOTING + GAP_ACTOR + PATIENT) as fleet:
        member = fleet.start()
        for number, verb in enumerate(VERBS, start=1):
            fleet.flows(beyond=stream.last)
            with valkey.stalled() if stalls else nullcontext():
                fault.begins()
                getattr(stream, verb)()
                wait_until(lambda number=number: member.told(" connection_ready ") > number, 60, "the next connection")
                stream.wait_for(stream.last + RATE // 10)
            fault.noticed(lambda number=number: len(fleet.gaps()) == number, 60, "the record")
        fleet.flows(beyond=stream.last)
        assert member.stop() == 0
        messages, gaps = fleet.messages(), fleet.gaps()
        told = listed(tmp_path / "supervisor-0", valkey.url)
    frames = [message for message in messages if message["actor_name"] == "handle"]
    backfills = [message for message in messages if message["actor_name"] == "backfill"]
    fault.compared(numbers_of(frames), stream.connections)
    number_by_id = {message["message_id"]: number_of(message["args"][0]) for message in frames}
    received = {number_of(message["args"][0]): message["options"]["frame"]["received_us"] for message in frames}
    assert [gap.cause for gap in gaps] == ["disconnected"] * len(VERBS)
    for gap, sent, following in zip(gaps, stream.connections, stream.connections[1:], strict=False):
        last = max(number for number in sent if number in received)
        assert number_by_id[message_id(gap.producer, gap.last_seq)] == gap.position == last
        assert received[last] <= gap.from_us < gap.to_us <= received[following[0]]
    assert [{**line, "message_id": None} for line in told] == [{**gap.content(), "message_id": None} for gap in gaps]
    assert [line["message_id"] for line in told] == [message_id(gap.producer, gap.last_seq) for gap in gaps]
    assert sorted((message["args"][0] for message in backfills), key=lambda content: content["from_us"]) == [
        gap.content() for gap in gaps
    ]


def test_an_outage_of_many_failed_attempts_is_one_record(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    fault("one outage of 20 failed attempts")

    def refuse(client):
        client.refuse(503)

    with (
        numbered_server(stream, stream, *[refuse] * 20) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=NOTING + GAP_ACTOR) as fleet,
    ):
        member = fleet.start()
        fleet.flows(beyond=RATE // 10)
        fault.begins()
        stream.cut()
        before = stream.last
        fault.recovered(lambda: fleet.newest() > before, 60, "the next connection")
        fault.noticed(lambda: fleet.gaps(), 60, "the record")
        assert member.stop() == 0
        messages, gaps = fleet.messages(), fleet.gaps()
    frames = [message for message in messages if message["actor_name"] == "handle"]
    fault.compared(numbers_of(frames), stream.connections)
    (gap,) = gaps
    came = set(numbers_of(frames)).intersection(stream.connections[0])
    assert (gap.cause, gap.last_seq, gap.position) == ("disconnected", len(came), max(came))
    assert gap.to_us - gap.from_us > 1e6
    assert [message["args"][0] for message in messages if message["actor_name"] == "backfill"] == [gap.content()]
