"""Messages that carry many numbers each: lost replies, a stop, another size after the restart, a SIGKILL, a full queue."""

import signal
from collections import Counter

import pytest

from tests.support.fault_feeds import PATIENT, QUEUE
from tests.support.fleet import NOTING, Fleet, assert_dropped_after
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import in_both
from tests.support.redis_proxy import RedisProxy
from tests.support.waiting import wait_until

#: Numbers per second.
RATE = 5000

BRIEF = "[supervisor]\nshutdown_timeout = 6\n"
SMALL = "backlog = { messages = 50 }\n"
FULL = "[supervisor]\nshutdown_timeout = 4\n[queues.trades]\nhigh_watermark = 40\nlow_watermark = 20\n"


def batches(size: int, timeout: float = 0.05) -> str:
    return f"batch = {{ size = {size}, timeout = {timeout} }}\n"


def sizes(fleet: Fleet) -> list[int]:
    """Return how many payloads each message in the queue carries; the numbers of those messages have no holes or doubles."""
    frames = [message["options"]["frame"] for message in fleet.messages() if message["actor_name"] == "handle"]
    ids = Counter(message["message_id"] for message in fleet.messages())
    assert max(ids.values()) == 1
    for message in fleet.messages():
        payload, frame = message["args"][0], message["options"]["frame"]
        assert len(payload) == frame["count"] if "count" in frame else isinstance(payload, str)
        assert int(message["message_id"][-12:], 16) == frame["seq"]
    return [frame.get("count", 1) for frame in frames]


@pytest.mark.quick
def test_lost_replies_a_stop_and_other_sizes_on_the_same_spool(tmp_path, shared_valkey, fault):
    """The replies to batches are lost again and again; the process is stopped while they are; the next ones cut otherwise."""
    stream = NumberedStream(rate=RATE)
    fault("replies to batches lost, stopped, and other sizes of batches after each restart")
    with (
        RedisProxy(shared_valkey.path) as proxy,
        numbered_server(stream) as server,
        Fleet(tmp_path, shared_valkey, server.url) as fleet,
    ):
        common = PATIENT + NOTING + SMALL + fleet.spooled()
        kept = []
        for size in (100, 1, 7):
            member = fleet.start(redis_url=proxy.url, extra=common + batches(size), top=BRIEF + QUEUE)
            fleet.flows(beyond=stream.last + RATE // 4)
            if not fault.has_begun:
                fault.begins()
            for _ in range(3):
                proxy.losing.set()
                wait_until(lambda before=proxy.lost: proxy.lost > before, 60, "a lost reply")
                proxy.losing.clear()
                fleet.flows(beyond=stream.last)
            proxy.losing.set()
            wait_until(lambda before=proxy.lost: proxy.lost > before, 60, "a lost reply")
            assert member.stop() == 0
            kept.append(member.kept)
            proxy.losing.clear()
        fault.ends()
        before, last = stream.last, fleet.start(redis_url=proxy.url, extra=common + batches(50))
        fault.recovered(lambda: fleet.newest() > before, 60, "a number of the last process")
        assert last.stop() == 0
        arrived, found = fleet.numbers(), sizes(fleet)
    assert proxy.lost >= 12
    fault.compared(arrived, stream.connections)
    for connection, end in zip(stream.connections, [*kept, last.kept], strict=True):
        assert in_both(arrived, connection) == list(range(connection[0], end + 1))
    assert max(found) == 100, "no full message"
    assert 1 in found


@pytest.mark.quick
def test_a_stop_hands_over_what_was_gathered(tmp_path, shared_valkey, fault):
    """The time is so long, and the size so large, that nothing leaves before the end."""
    stream = NumberedStream(rate=500)
    fault("SIGTERM with an open batch")
    with (
        numbered_server(stream) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=PATIENT + NOTING + batches(10_000, 30)) as fleet,
    ):
        member = fleet.start()
        stream.wait_for(200)
        wait_until(lambda: member.read >= 200, 60, "200 numbers read")
        assert fleet.depth() == 0
        fault.begins()
        assert member.stop() == 0
        fault.ends()
        assert "lost=0" in member.log
        arrived, [size] = fleet.numbers(), sizes(fleet)
    fault.compared(arrived, stream.connections)
    assert arrived == list(range(1, member.kept + 1))
    assert size == member.kept


def test_a_connection_that_ends_leaves_nothing_behind_to_wait(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=500)
    fault("the server cuts a connection with an open batch")
    with (
        numbered_server(stream) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=NOTING + batches(10_000, 30)) as fleet,
    ):
        member = fleet.start()
        stream.wait_for(200)
        stream.pause()
        wait_until(lambda: member.read == stream.last, 60, "what was sent to be read: the end is to lose nothing")
        fault.begins()
        stream.hang_up()
        fault.noticed(lambda: fleet.depth() == 1, 60, "the message")
        fault.ends()
        assert fleet.newest() == stream.last
        stream.resume()
        assert member.stop() == 0
        arrived = fleet.numbers()
    fault.compared(arrived, stream.connections)


def test_sigkill_loses_what_is_in_memory_and_what_is_told_as_safe_is(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    fault("SIGKILL with batches; another size after it")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url) as fleet:
        extra = NOTING + fleet.spooled() + 'durability = "disk"\n'
        member = fleet.start(extra=extra + batches(100, 0))
        fleet.flows(beyond=RATE // 2)
        fault.begins()
        member.signal(signal.SIGKILL)
        member.wait()
        fault.ends()
        before, second = stream.last, fleet.start(extra=extra + batches(3))
        fault.recovered(lambda: fleet.newest() > before, 60, "a number of the new process")
        assert second.stop() == 0
        arrived = fleet.numbers()
    fault.compared(arrived, stream.connections)
    first = in_both(arrived, stream.connections[0])
    assert first == list(range(1, len(first) + 1))
    assert len(first) >= member.kept, "what had been handed on was on disk, with a timeout of 0"


def test_drops_with_batches_are_counted_and_recorded_in_payloads(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    extra = NOTING + SMALL + 'overflow = "drop_newest"\n' + batches(20)
    fault("a full queue, batches, drop_newest")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=FULL) as fleet:
        member = fleet.start()
        member.wait_for_log("drops_began ")
        fault.begins()
        stream.wait_for(stream.last + RATE)
        stream.pause()
        fault.ends()
        assert fleet.depth() == 40, "the watermark counts messages"
        assert member.stop() == 1
        counts = dict(word.split("=") for word in member.last_line.split() if "=" in word)
        arrived, gaps = fleet.numbers(), fleet.gaps("dropped")
    read, enqueued, dropped, lost = (int(counts[name]) for name in ("read", "enqueued", "dropped", "lost"))
    assert read == member.read == enqueued + dropped + lost
    assert enqueued == len(arrived) == 40 * 20
    assert sum(gap.count or 0 for gap in gaps) == dropped
    assert_dropped_after(gaps[0].last_seq, dropped, gaps)
    fault.compared(arrived, stream.connections, given_up=set(range(1, member.read + 1)) - set(arrived))
