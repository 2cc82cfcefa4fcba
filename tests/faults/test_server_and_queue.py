"""A server that goes away while the queue is full, so that nothing is read: together they cost no more than each alone."""

import threading
import time

import pytest

from tests.support.fault_run import supervising
from tests.support.half_open import HalfOpenProxy
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import Consumer
from tests.support.waiting import wait_until

#: Numbers per second: less than the queue takes while it goes from watermark to watermark (its depth is polled).
RATE = 1000

HIGH = 1000
QUEUE = f"[queues.trades]\nhigh_watermark = {HIGH}\nlow_watermark = 500\n"
BACKLOG = "backlog = { messages = 500 }\n"

#: What fills queue and backlog, and what then waits in the socket (which holds far more).
FILLING, WAITING = 3000, 2000


@pytest.mark.parametrize(
    "heartbeat",
    [
        pytest.param("", id="without heartbeats"),
        pytest.param('heartbeat = { interval = 0.2, text = "alive" }', id="with heartbeats"),
    ],
)
def test_what_the_server_sent_before_it_left_in_order_is_read_once_there_is_room(tmp_path, shared_valkey, fault, heartbeat):
    stream = NumberedStream(rate=RATE)
    left = threading.Event()

    def give_and_leave(client):
        sent = stream.burst(client, FILLING)
        while not fault.has_begun:
            client.listen(0.01)
        stream.burst(client, WAITING, sent)
        client.hang_up()
        left.set()

    with (
        numbered_server(stream, give_and_leave) as server,
        supervising(tmp_path, shared_valkey, server.url, extra=BACKLOG + heartbeat, top=QUEUE) as run,
        Consumer(shared_valkey.url, rate=0) as consumer,
    ):
        fault(f"server leaves while the queue is full{' (heartbeats)' if heartbeat else ''}", run.memory)
        wait_until(lambda: run.told("feed_blocked "), 60, "the full backlog")
        fault.begins()
        server.wait_until(left.is_set, "the end of the connection")
        time.sleep(1)  # how long the queue stays full: some heartbeats
        consumer.rate = None
        fault.ends()
        fault.noticed(lambda: run.told("connection_lost "), 60, "the loss")
        fault.recovered(lambda: consumer.newest > FILLING + WAITING, 60, "the next connection")
        assert consumer.deepest <= HIGH
        stream.pause()
        wait_until(lambda: consumer.newest == stream.newest, 60, "the last number")
    fault.compared(consumer.numbers, stream.connections, whole=[0])


def test_a_server_that_vanished_while_the_queue_was_full_is_noticed_once_there_is_room(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    with (
        numbered_server(stream) as server,
        HalfOpenProxy(server.port) as proxy,
        supervising(tmp_path, shared_valkey, proxy.url, extra=BACKLOG, top=QUEUE) as run,
        Consumer(shared_valkey.url, rate=0) as consumer,
    ):
        fault("half-open while the queue is full", run.memory)
        wait_until(lambda: run.told("feed_blocked "), 60, "the full backlog")
        proxy.swallow()
        time.sleep(2)  # how long the queue stays full: longer than the deadlines, which are suspended
        assert not run.told("connection_lost ")
        proxy.heal()
        fault.begins()
        consumer.rate = None
        fault.noticed(lambda: run.told("reason=PingTimedOut"), 3.5, "the silence: a ping each 0.5 s, answered within 1 s")
        before = stream.last
        fault.recovered(lambda: consumer.newest > before, 60, "the next connection")
        stream.pause()
        wait_until(lambda: consumer.newest == stream.newest, 60, "the last number")
    fault.compared(consumer.numbers, stream.connections)


def test_a_reset_while_the_queue_is_full_leaves_a_prefix_and_there_is_no_reconnect_before_there_is_room(
    tmp_path, shared_valkey, fault
):
    stream = NumberedStream(rate=RATE)
    with (
        numbered_server(stream) as server,
        supervising(tmp_path, shared_valkey, server.url, extra=BACKLOG, top=QUEUE) as run,
        Consumer(shared_valkey.url, rate=0) as consumer,
    ):
        fault("server cut (RST) while the queue is full", run.memory)
        wait_until(lambda: run.told("feed_blocked "), 60, "the full backlog")
        stream.cut()
        time.sleep(1)  # how long the queue stays full
        assert len(server.recordings) == 1, "a reconnect without room"
        fault.begins()
        consumer.rate = None
        fault.noticed(lambda: run.told("connection_lost "), 3, "the reset")
        fault.recovered(lambda: len(stream.connections) == 2, 3, "the next connection")
        stream.wait_for(stream.newest + RATE)
        stream.pause()
        wait_until(lambda: consumer.newest == stream.newest, 60, "the last number")
        assert consumer.deepest <= HIGH
    fault.compared(consumer.numbers, stream.connections)
