"""Workers that are too slow, or fail: the queue's depth and our memory stay bounded, and everything arrives."""

import time

import pytest

from ingest.broker.status import read_statuses
from tests.support.fault_run import KEY, supervising
from tests.support.frames import TEXT, frame
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import Consumer, compare, messages_in, numbers_in
from tests.support.waiting import wait_until

MILLION = 1_000_000

HIGH = 20_000


def frames_read(client):
    """Return how many frames the supervisor last said it had read."""
    return sum(feed["frames"] for one in read_statuses(client, "dramatiq") for feed in one["feeds"].values())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("held", ["by the server", "on disk"])
def test_without_a_worker_for_a_million_frames_depth_and_memory_stay_bounded_and_then_all_arrive(
    tmp_path, shared_valkey, fault, held
):
    (tmp_path / "spool").mkdir()
    # The server answers no ping while it sends without a pause.
    extra = 'spool = { directory = "spool" }\nping_interval = 0\n' if held == "on disk" else ""
    stream = NumberedStream(rate=None, limit=MILLION, block=1000)
    with (
        numbered_server(stream) as server,
        supervising(tmp_path, shared_valkey, server.url, extra=extra, top=f"[queues.trades]\nhigh_watermark = {HIGH}\n") as run,
        Consumer(shared_valkey.url, rate=0) as consumer,
    ):
        fault(f"no worker for 1 000 000 frames, which wait {held}", run.memory)
        run.flows()
        fault.begins()
        if held == "on disk":
            fault.noticed(lambda: run.told("spooling_began "), 60, "the full memory")
            wait_until(lambda: frames_read(run.client) == MILLION, 120, "the last of them to be read")
            assert not run.told("feed_blocked ")
        else:
            fault.noticed(lambda: run.told("feed_blocked "), 60, "the full backlog")
            time.sleep(2)  # how long nobody works, once everything is full
            assert stream.newest < MILLION
        assert run.depth() == HIGH
        fault.ends()
        consumer.rate = None
        fault.recovered(lambda: len(consumer.numbers) > HIGH * 3, 60, "what nobody took before")
        consumer.wait_for(MILLION, timeout=180)
        assert consumer.deepest == HIGH
        assert run.memory.grown < 150
    assert fault.compared(consumer.numbers, stream.connections, whole=[0]).exact
    assert len(stream.connections) == 1


ROUTING = """
from ingest import Emit, Session, To


class Routing(Session):
    def on_frame(self, payload):
        return Emit(To(payload, queue="odd") if int(payload) % 2 else payload)
"""


def test_a_full_queue_of_two_holds_both_back_and_what_is_in_them_is_a_prefix(tmp_path, shared_valkey, fault):
    (tmp_path / "routing.py").write_text(ROUTING)
    stream = NumberedStream(rate=5000)
    with (
        numbered_server(stream) as server,
        supervising(
            tmp_path,
            shared_valkey,
            server.url,
            extra='session = "routing:Routing"\nbacklog = { messages = 1000 }\n',
            top="[queues.odd]\nhigh_watermark = 500\n",
        ) as run,
        Consumer(shared_valkey.url) as evens,
    ):
        fault("one of a feed's two queues is full", run.memory)
        wait_until(lambda: evens.numbers, 60, "the first numbers")
        fault.begins()
        fault.noticed(lambda: run.told("feed_blocked "), 60, "the full backlog")
        wait_until(lambda: run.client.llen("dramatiq:odd") == 500, 60, "the full queue")
        odd = numbers_in(run.client, "odd")
        wait_until(lambda: evens.newest >= odd[-1] - 1, 60, "the even numbers before it")
        evens.until_empty()
        assert len(odd) == 500
        assert evens.newest <= odd[-1] + 1, "one queue ran ahead"
        assert sorted(odd + evens.numbers) == list(range(1, max(odd[-1], evens.numbers[-1]) + 1))
        with Consumer(shared_valkey.url, "odd") as odds:
            fault.ends()
            fault.recovered(lambda: evens.newest > odd[-1] + 1000, 60, "what was held back")
            stream.pause()
            wait_until(lambda: len(evens.numbers) + len(odds.numbers) == stream.newest, 60, "the rest")
    for arrived in (evens.numbers, odds.numbers):
        assert arrived == sorted(arrived), "out of order"
    fault.compared(sorted(evens.numbers + odds.numbers), stream.connections, whole=[0])


APP = """
import json, os, time
import dramatiq
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(url=os.environ["REDIS_URL"])
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="trades", max_retries=2, min_backoff=1, max_backoff=50)
def handle(payload):
    with open("results", "a") as file:
        file.write(json.dumps([int(payload), broker.client.llen("dramatiq:trades")]) + chr(10))
    if int(payload) % 20 == 0:
        raise ValueError(payload)
"""


def test_a_stock_worker_whose_actor_fails_at_a_full_queue_gets_every_retry_and_nothing_is_left_waiting(
    tmp_path, project, shared_valkey, fault
):
    total, high = 2000, 50
    stream = NumberedStream(rate=None, limit=total)
    client = shared_valkey.client()
    project.write("app.py", APP)
    with (
        numbered_server(stream) as server,
        supervising(
            tmp_path,
            shared_valkey,
            server.url,
            extra="backlog = { messages = 100 }\n",
            top=f"[queues.trades]\nhigh_watermark = {high}\nlow_watermark = {high - 1}\n",
        ) as run,
    ):
        fault("a stock worker's actor fails at a full queue", run.memory)
        wait_until(lambda: run.told("feed_blocked "), 60, "the full queue")
        fault.begins()
        project.run("app", REDIS_URL=shared_valkey.url)
        failing = range(20, total + 1, 20)
        fault.recovered(lambda: client.zcard(f"{KEY}.XQ") == len(failing), 60, "every message that fails given up by the worker")
        wait_until(lambda: not any(client.exists(f"dramatiq:{name}") for name in ("trades", "trades.DQ")), 60, "empty queues")
        wait_until(lambda: not client.exists(f"{KEY}.msgs", f"{KEY}.DQ.msgs"), 60, "no message left")
    results = project.results()
    full = [number for number, depth in results if number in failing and depth >= high - 10]
    assert len(full) > len(failing), "the queue was not full when they failed"
    first_tries = list(dict.fromkeys(number for number, _ in results))
    fault.compared(first_tries, stream.connections, whole=[0])
    assert sorted(number for number, _ in results) == sorted([*range(1, total + 1), *failing, *failing])


#: Set as a user's own module would; the supervisor imports it for its session.
REFUSING = """
import dramatiq
from dramatiq.encoder import JSONEncoder
from ingest import Session


class Refusing(JSONEncoder):
    def encode(self, data):
        if any(int(payload) in (1000, 2000, 3000) for payload in data.get("args", ())):
            raise RuntimeError("no such number")
        return super().encode(data)


dramatiq.set_encoder(Refusing())


class Plain(Session):
    pass
"""


def test_a_frame_that_the_encoder_refuses_is_a_recorded_drop_and_no_other_is_lost(tmp_path, shared_valkey, fault):
    (tmp_path / "refusing.py").write_text(REFUSING)
    stream = NumberedStream(rate=1000)
    with (
        numbered_server(stream) as server,
        supervising(tmp_path, shared_valkey, server.url, extra='session = "refusing:Plain"\n') as run,
    ):
        fault("an encoder that raises", run.memory)
        run.flows()
        fault.begins()
        fault.noticed(lambda: run.told("message_rejected "), 60, "the refusal in the log")
        fault.recovered(lambda: run.newest() > 3100, 60, "the numbers after the third")
        stream.pause()
        wait_until(lambda: run.newest() == stream.newest, 60, "the last number")
        gaps = wait_until(lambda: run.gaps("dropped"), 60, "the records")
    found = fault.compared(run.numbers(), stream.connections)
    refused = [tail[0] for tail in found.tails if tail]
    assert refused == [1000, 2000, 3000], "a connection ended for something else"
    assert [gap["count"] for gap in gaps] == [1, 1, 1]
    assert run.told("message_rejected ") == 3


#: The shortest frames there are, and how many of them fit in one read.
EMPTY = frame(TEXT, b"")
IN_ONE_READ = 256 * 1024 // 2


def test_a_read_full_of_two_byte_frames_is_taken_whole_and_in_order(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=1000)
    assert len(EMPTY) == 2

    def flood(client):
        while not fault.has_begun:
            client.listen(0.01)
        client.send_raw(EMPTY * IN_ONE_READ)
        client.hang_up()

    with numbered_server(stream, flood) as server, supervising(tmp_path, shared_valkey, server.url) as run:
        fault(f"{IN_ONE_READ} frames of 2 bytes at once", run.memory)
        run.supervisor.wait_for_log("connection_ready ")
        fault.begins()
        fault.recovered(lambda: run.depth() > IN_ONE_READ + 100, 60, "the next connection")
        stream.pause()
        wait_until(lambda: run.newest() == stream.newest, 60, "the last number")
        assert run.memory.grown < 150
    messages = messages_in(run.client)
    assert [message["options"]["frame"]["seq"] for message in messages] == list(range(1, len(messages) + 1))
    assert [message["args"][0] for message in messages[:IN_ONE_READ]] == [""] * IN_ONE_READ
    found = compare([int(message["args"][0]) for message in messages[IN_ONE_READ:]], stream.connections)
    fault.lost, fault.doubled = len(found.missing), len(found.doubled)
    assert found.exact


LIMIT = 2000


def test_two_supervisors_of_one_queue_keep_its_rate_within_five_percent_over_ten_seconds(tmp_path, shared_valkey, fault):
    top = f"[queues.trades]\nhigh_watermark = 10_000_000\nrate_limit = {LIMIT}\n"
    streams = [NumberedStream(rate=LIMIT * 0.6, first=first) for first in (1, 100_001)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        numbered_server(streams[0]) as first,
        numbered_server(streams[1]) as second,
        supervising(tmp_path / "one", shared_valkey, first.url, name="one", top=top) as one,
        supervising(tmp_path / "two", shared_valkey, second.url, name="two", top=top),
    ):
        fault("two supervisors under one rate limit", one.memory)
        wait_until(lambda: set(map(_is_of_second, one.numbers())) == {False, True}, 60, "both feeds in the queue")
        fault.begins()
        depth, began = one.depth(), time.monotonic()
        time.sleep(10)  # over which the rate is measured
        enqueued, seconds = one.depth() - depth, time.monotonic() - began
        assert enqueued / seconds == pytest.approx(LIMIT, rel=0.05)
        for stream in streams:
            stream.pause()  # what has piled up is delivered at the end
    arrived = one.numbers()
    mine = [number for number in arrived if not _is_of_second(number)]
    others = list(filter(_is_of_second, arrived))
    assert min(len(mine), len(others)) > LIMIT, "one of them starved"
    for numbers, stream in ((mine, streams[0]), (others, streams[1])):
        fault.compared(numbers, stream.connections)
    fault.name += f": {enqueued / seconds:.0f}/s of {LIMIT}"


def _is_of_second(number):
    return number > 100_000
