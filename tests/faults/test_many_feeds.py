"""Twelve feeds whose publishers share four connections to Redis: what one of them meets costs no other a number, or its turn."""

import signal
import time

import pytest

from ingest.broker.gaps import read_gaps
from ingest.broker.keys import Keys
from tests.support.fault_feeds import PATIENT
from tests.support.fleet import spooling
from tests.support.many_feeds import CONNECTIONS, FEEDS, NOTING, RATE, ManyFeeds, reached
from tests.support.redis_proxy import RedisProxy
from tests.support.waiting import wait_until

#: Seconds between two kills.
EVERY = 0.05

#: Connections that a supervisor has to Redis, as docs/deployment.md says.
MOST = CONNECTIONS + 4

#: Bytes per second of a road to Redis that a flood fills.
SLOW = 4e6

#: Nothing of this has a place in the log of a supervisor that only Redis gives trouble.
UNEXPECTED = "queue_forgotten|lease_lost|message_rejected|gap_found|feed_restarted|feed_gave_up"


def kill_until(client, condition, timeout, what):
    """End every connection but our own, every `EVERY` seconds, until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        client.client_kill_filter(_type="normal", skipme=True)
        time.sleep(EVERY)  # the period of the fault


def ended_well(supervisor):
    assert supervisor.stop() == 0
    assert supervisor.told(r"feed_drained .* lost=0") == FEEDS
    assert not supervisor.told(UNEXPECTED)


@pytest.mark.parametrize("rounds", [pytest.param(1, marks=pytest.mark.quick), 8])
def test_connections_killed_every_50_ms_starve_no_feed_and_lose_and_double_nothing(tmp_path, shared_valkey, fault, rounds):
    """A round is over when every feed has come further: a feed that never gets its turn ends none."""
    feeds, patience = ManyFeeds(shared_valkey), PATIENT if rounds == 1 else ""
    with feeds.serving() as server, feeds.supervised(tmp_path / "ingest", extra=patience) as (supervisor, memory):
        fault(f"{FEEDS} feeds on 4 connections, all killed every 50 ms ({rounds} times until all had {RATE} more)", memory)
        feeds.flows()
        assert feeds.connected() <= MOST
        began = feeds.newest()
        fault.begins()
        for _ in range(rounds):
            targets = {name: number + RATE for name, number in feeds.newest().items()}
            kill_until(feeds.client, lambda targets=targets: reached(feeds.newest(), targets), 60, "progress of every feed")
        progress = sorted(number - began[name] for name, number in feeds.newest().items())
        fault.ends()
        until = feeds.sent
        fault.recovered(lambda: reached(feeds.newest(), until), 60, "what was read meanwhile")
        assert feeds.connected() <= MOST
        ended_well(supervisor)
    assert progress[0] >= rounds * RATE
    assert progress[-1] <= 3 * progress[0], f"unfair: {progress}"
    feeds.compared(fault, feeds.numbers())
    assert len(server.recordings) == FEEDS, "a server noticed"


def test_a_feed_that_floods_takes_no_other_feeds_turn_on_the_one_connection_of_all_also_while_it_is_killed(
    tmp_path, shared_valkey, fault
):
    """The road to Redis is so slow that the flood always has more to send; eleven others have a little, all the time."""
    feeds = ManyFeeds(shared_valkey, rate=50, queues=("flood", *["calm"] * (FEEDS - 1)))
    flood, *calm = feeds.streams
    feeds.streams[flood].rate, feeds.streams[flood].size = None, 400
    few = "backlog = {{ messages = 2000 }}\n"
    with (
        RedisProxy(shared_valkey.path, rate=SLOW) as proxy,
        feeds.serving(),
        feeds.supervised(tmp_path / "ingest", extra=few, connections=1, redis_url=proxy.url) as (supervisor, memory),
    ):
        fault(f"a flood and {FEEDS - 1} other feeds on 1 connection, killed every 50 ms", memory)
        feeds.flows()
        for killed in (False, True):
            if killed:
                fault.begins()
            flooded = feeds.newest()[flood]
            for _ in range(3):
                targets = {name: feeds.sent[name] for name in calm}

                def all_got_on(targets=targets):
                    return reached(feeds.newest(), targets)

                if killed:
                    kill_until(feeds.client, all_got_on, 60, f"the turn of every feed: {targets}")
                else:
                    wait_until(all_got_on, 60, f"the turn of every feed: {targets}")
            wait_until(lambda flooded=flooded: feeds.newest()[flood] > flooded, 60, "the flood's own turn")
            assert feeds.sent[flood] - feeds.newest()[flood] > 2000, "no flood: the road keeps up"
        fault.ends()
        feeds.pause()
        until = feeds.sent
        fault.recovered(lambda: reached(feeds.newest(), until), 60, "what was read meanwhile")
        ended_well(supervisor)
    feeds.compared(fault, feeds.numbers(), whole=True)


@pytest.mark.parametrize(("seconds", "told"), [(5, False), (8, True)], ids=["5 s", "beyond the time-out of a call"])
def test_redis_that_stands_still_loses_and_doubles_nothing_of_any_feed(tmp_path, valkey, fault, seconds, told):
    """Four feeds hold the connections on which no reply comes; the others wait for one of them."""
    feeds = ManyFeeds(valkey)
    with feeds.serving() as server, feeds.supervised(tmp_path / "ingest") as (supervisor, memory):
        fault(f"{FEEDS} feeds on 4 connections, Redis stalled (SIGSTOP {seconds} s)", memory)
        feeds.flows()
        with valkey.stalled():
            fault.begins()
            if told:
                fault.noticed(lambda: supervisor.told("broker_unavailable "), seconds, "the outage in the log")
            began = time.monotonic()
            feeds.wait_for(RATE)
            time.sleep(max(0.0, began + seconds - time.monotonic()))  # how long the fault lasts; the server goes on meanwhile
        fault.ends()
        until = feeds.sent
        fault.recovered(lambda: reached(feeds.newest(), until), 60, "what was read meanwhile")
        assert feeds.connected() <= MOST
        ended_well(supervisor)
    feeds.compared(fault, feeds.numbers())
    assert len(server.recordings) == FEEDS, "a server noticed"


def test_feeds_whose_queue_is_full_hold_no_connection_and_the_others_go_on(tmp_path, shared_valkey, fault):
    """Six feeds wait for room, more than there are connections; then there is room, and all of theirs comes too."""
    feeds = ManyFeeds(shared_valkey, queues=("full", "free"))
    full = [name for name, queue in feeds.queues.items() if queue == "full"]
    free = [name for name in feeds.queues if name not in full]
    top, extra = "[queues.full]\nhigh_watermark = 200\n", "backlog = {{ messages = 500 }}\n"
    with feeds.serving(), feeds.supervised(tmp_path / "ingest", extra=extra, top=top) as (supervisor, memory):
        fault(f"the queue of 6 of {FEEDS} feeds full, 4 connections", memory)
        feeds.flows()
        fault.begins()
        fault.noticed(lambda: all(supervisor.told(f"feed_blocked feed={name}") for name in full), 60, "six full backlogs")
        stuck = {name: feeds.newest()[name] for name in full}
        targets = {name: number + 4 * RATE for name, number in feeds.newest().items() if name in free}
        wait_until(lambda: reached(feeds.newest(), targets), 60, "four seconds' worth of the others", 0.05)
        assert {name: feeds.newest()[name] for name in full} == stuck
        assert feeds.client.llen("dramatiq:full") == 200
        assert not any(supervisor.told(f"feed_blocked feed={name}") for name in free)
        fault.ends()
        until = feeds.sent

        def caught_up():
            feeds.take("full")
            return all(feeds.taken[name][-1] >= until[name] for name in full)

        fault.recovered(caught_up, 60, "what was held back")
        feeds.pause()
        wait_until(lambda: [feeds.take("full"), reached(latest(feeds), feeds.sent)][1], 60, "all that was sent")
        ended_well(supervisor)
    feeds.compared(fault, feeds.numbers(), whole=True)


def latest(feeds):
    """Return every feed's last number, also of those that were taken."""
    return {name: max(number, *feeds.taken[name][-1:], 0) for name, number in feeds.newest().items()}


def test_replies_lost_after_execution_double_nothing_of_any_feed(tmp_path, shared_valkey, fault):
    feeds = ManyFeeds(shared_valkey)
    with (
        RedisProxy(shared_valkey.path) as proxy,
        feeds.serving(),
        feeds.supervised(tmp_path / "ingest", redis_url=proxy.url) as (supervisor, memory),
    ):
        fault(f"{FEEDS} feeds on 4 connections, replies lost after execution, ten times", memory)
        feeds.flows()
        fault.begins()
        for _ in range(10):
            lost, executed = proxy.lost, feeds.newest()
            proxy.losing.set()
            wait_until(lambda lost=lost: proxy.lost >= lost + 4, 60, "lost replies")
            proxy.losing.clear()
            feeds.flows(beyond=executed)
        fault.ends()
        until = feeds.sent
        fault.recovered(lambda: reached(feeds.newest(), until), 60, "what was read meanwhile")
        ended_well(supervisor)
    feeds.compared(fault, feeds.numbers())


def test_sigterm_under_load_delivers_every_feed_up_to_a_point_and_exits_with_0(tmp_path, shared_valkey, fault):
    feeds = ManyFeeds(shared_valkey, rate=1000)
    with feeds.serving() as server, feeds.supervised(tmp_path / "ingest") as (supervisor, memory):
        fault(f"SIGTERM under load, {FEEDS} feeds on 4 connections", memory)
        feeds.flows(beyond=dict.fromkeys(feeds.streams, 500))
        fault.begins()
        assert supervisor.stop() == 0
        fault.noticed(lambda: all(one.left for one in server.recordings), 60, "the close of every connection")
        assert {one.close_code for one in server.recordings} == {1001}
    delivered = feeds.numbers()
    feeds.compared(fault, delivered)
    for name, numbers in delivered.items():
        count = len(numbers)
        assert supervisor.told(f"feed_drained feed={name} .*read={count} .*enqueued={count} (.* )?lost=0"), name
    assert not supervisor.told(UNEXPECTED)


def test_sigterm_while_redis_stands_still_spools_every_feed_and_the_next_start_delivers_all(tmp_path, valkey, fault):
    """Four feeds have calls in flight, the others wait for a connection that nobody gives back."""
    feeds = ManyFeeds(valkey, rate=1000)
    (tmp_path / "spool").mkdir()
    extra, top = (
        NOTING + spooling(tmp_path / "spool").replace("{", "{{").replace("}", "}}"),
        "[supervisor]\nshutdown_timeout = 6\n",
    )
    fault(f"SIGTERM while Redis stands still, {FEEDS} feeds on 4 connections, with spools")
    with feeds.serving():
        with feeds.supervised(tmp_path / "first", extra=extra, top=top) as (first, _):
            feeds.flows(beyond=dict.fromkeys(feeds.streams, 500))
            with valkey.stalled():
                feeds.wait_for(1000)
                fault.begins()
                assert first.stop() == 0
        with feeds.supervised(tmp_path / "second", extra=extra, top=top) as (second, _):
            fault.ends()
            before = feeds.sent
            fault.recovered(lambda: reached(feeds.newest(), before), 60, "numbers of the next process")
            assert second.stop() == 0
    delivered = feeds.numbers()
    feeds.compared(fault, delivered)
    for name, stream in feeds.streams.items():
        for member, sent in zip((tmp_path / "first", tmp_path / "second"), stream.connections, strict=True):
            came = [number for number in delivered[name] if sent[0] <= number <= sent[-1]]
            assert came[-1] == feeds.noted(member, name)[1], f"{name}: what was handed on is not all there"


def test_sigkill_with_durability_disk_loses_of_every_feed_at_most_the_read_under_way(tmp_path, valkey, fault):
    """Every other time Redis stands still: then all feeds have much on disk, and calls are executed after their process's end."""
    feeds = ManyFeeds(valkey)
    (tmp_path / "spool").mkdir()
    spool = spooling(tmp_path / "spool").replace("{", "{{").replace("}", "}}")
    extra, kills = NOTING + spool + 'durability = "disk"\n', 6
    members = [tmp_path / f"member-{number}" for number in range(kills + 1)]
    fault(f'SIGKILL under load, durability = "disk", {FEEDS} feeds on 4 connections, {kills} times')
    with feeds.serving():
        for number, member in enumerate(members[:-1]):
            before = feeds.sent
            with feeds.supervised(member, extra=extra) as (supervisor, _):
                fault.recovers(lambda before=before: reached(feeds.newest(), plus_one(before)), 60, "a number of the new process")
                wait_until(lambda number=number: set(map(len, restarts(feeds).values())) == {number}, 60, "the gap records")
                if number % 2:
                    with valkey.stalled():
                        feeds.wait_for(RATE // 2)
                        fault.begins()
                        supervisor.kill()
                else:
                    feeds.wait_for(RATE // 2)
                    fault.begins()
                    supervisor.signal(signal.SIGKILL)
                    supervisor.wait()
        before = feeds.sent
        with feeds.supervised(members[-1], extra=extra) as (last, _):
            feeds.flows(beyond=before)
            assert last.stop() == 0
            assert "spooled=0 dropped=0 lost=0" in last.last_line
    delivered = feeds.numbers()
    feeds.compared(fault, delivered)
    lost = 0
    for name, stream in feeds.streams.items():
        for member, sent in zip(members, stream.connections, strict=True):
            (read, kept), came = feeds.noted(member, name), set(sent).intersection(delivered[name])
            assert read >= max(came) >= kept, f"{name}: what was handed on was on disk"
            lost += read - max(came)
        ends = [len(set(sent).intersection(delivered[name])) for sent in stream.connections[:-1]]
        assert [gap.last_seq for gap in restarts(feeds)[name]] == ends, f"{name}: a record for every kill, from where it was"
    fault.lost = lost


def restarts(feeds):
    """Return the records of what a killed process may have missed, by feed."""
    found = read_gaps(feeds.client, Keys("dramatiq"), "", list(feeds.streams))
    return {name: [gap for gap in found if gap.feed == name and gap.cause == "restart"] for name in feeds.streams}


def plus_one(numbers):
    return {name: number + 1 for name, number in numbers.items()}
