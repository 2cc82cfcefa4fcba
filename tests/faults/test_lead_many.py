"""Two supervisors of many feeds, each with a spool: the lead of all of them moves at once."""

import signal
from collections import defaultdict

import pytest

from ingest.broker.gaps import read_gaps
from ingest.broker.keys import Keys
from ingest.testing import ScriptedServer
from settings.wire import split_message_id
from tests.support.fault_feeds import QUEUE, feeds_toml
from tests.support.fleet import Fleet, spooling
from tests.support.numbered import NumberedStream
from tests.support.queue_content import numbers_of
from tests.support.waiting import wait_until

FEEDS = [f"feed{number}" for number in range(50)]

#: Seconds between two numbers of a connection.
PAUSE = 0.1


def trickling(stream):
    """Return a script that sends number after number on each connection; all connections share the stream's numbers."""

    def script(client):
        sent = stream.burst(client, 1)
        client.listen(PAUSE)
        while not client.recording.left:
            stream.burst(client, 1, sent)
            client.listen(PAUSE)

    return script


def many_feeds(url, folder):
    """Return a settings file in which all feeds read from one server and have their spools in one folder."""
    folder.mkdir(exist_ok=True)
    tables = [feeds_toml(f"{url}{name}", name, extra=spooling(folder), top="") for name in FEEDS]
    return "\n".join([QUEUE, *tables])


def by_feed(messages):
    """Return the messages of each feed, in order."""
    found = defaultdict(list)
    for message in messages:
        found[message["options"]["frame"]["feed"]].append(message)
    return found


def producers_of(messages):
    """Return who enqueued these, in order."""
    return list(dict.fromkeys(split_message_id(message["message_id"])[0] for message in messages))


@pytest.mark.parametrize("folders", ["one folder", "a folder each"])
def test_after_an_orderly_stop_of_the_leader_of_many_feeds_the_standby_goes_on_with_all_of_them(
    tmp_path, shared_valkey, fault, folders
):
    stream = NumberedStream()
    fault(f"leader of {len(FEEDS)} feeds with spools stopped (SIGTERM), {folders}")
    with ScriptedServer(trickling(stream), timeout=120.0) as server, Fleet(tmp_path, shared_valkey, server.url) as fleet:
        leader = fleet.start(feeds=many_feeds(server.url, fleet.spool))
        wait_until(lambda: len(by_feed(fleet.messages())) == len(FEEDS), 60, "messages of all feeds")
        standby = fleet.start(feeds=many_feeds(server.url, fleet.spool if folders == "one folder" else tmp_path / "other"))
        wait_until(lambda: standby.told(" standing_by ") == len(FEEDS), 60, "the standby of all feeds")
        fault.begins()
        leader.signal(signal.SIGTERM)
        fault.noticed(lambda: standby.told(" lease_taken ") == len(FEEDS), 60, "the standby to lead all feeds")
        fault.recovered(
            lambda: all(len(producers_of(found)) == 2 for found in by_feed(fleet.messages()).values()),
            60,
            "a message of the new leader of every feed",
        )
        assert leader.wait() == 0
        assert standby.stop() == 0
        arrived = by_feed(fleet.messages())
        gaps = read_gaps(fleet.client, Keys("dramatiq"), "", FEEDS)
    assert arrived.keys() == set(FEEDS)
    assert len(stream.connections) == 2 * len(FEEDS), "each feed was connected once by each leader"
    lost = doubled = read = 0
    for feed, messages in arrived.items():
        numbers = numbers_of(messages)
        connections = [sent for sent in stream.connections if set(sent).intersection(numbers)]
        assert len(connections) == 2, feed
        fault.compared(numbers, connections)
        lost, doubled = lost + fault.lost, doubled + fault.doubled
        of_leader = len(set(numbers).intersection(connections[0]))
        read += of_leader
        [gap] = [gap for gap in gaps if gap.feed == feed]
        # Whose spool it has taken over, by that it goes on as itself.
        assert gap.cause in ({"failover", "restart"} if folders == "one folder" else {"failover"})
        assert gap.last_seq == of_leader
    fault.lost, fault.doubled = lost, doubled
    assert f" read={read} " in leader.last_line, "all that it had read is there"
