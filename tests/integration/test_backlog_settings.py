"""The bounds of memory and disk that a feed's settings name: with a full queue, and a server that goes on sending."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ingest.broker.status import read_statuses
from ingest.connection.stream import READ_BYTES
from ingest.testing import ScriptedServer
from ingest.testing.script import ScriptedConnection
from tests.support.queue_content import Consumer
from tests.support.redis_server import Valkey
from tests.support.spools import opened
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

FRAMES, SIZE = 6000, 500

#: What one read brings is taken whole: so much more than the bound may be held, in messages.
OVERSHOOT = READ_BYTES // SIZE + 1

#: Bytes of an encoded message, at most.
MESSAGE = SIZE + 500

QUEUE = 1000

TOP = f"[queues.trades]\nhigh_watermark = {QUEUE}\n"

#: For a stop with a full queue.
SOON = "[supervisor]\nshutdown_timeout = 4\n"


def send_all(client: ScriptedConnection) -> None:
    for start in range(1, FRAMES + 1, 20):
        client.send(*[f"{number} ".ljust(SIZE, "x") for number in range(start, start + 20)])
        client.listen(0)


def feed(url: str, more: str) -> str:
    return f'{TOP}[feeds.trades]\nurl = "{url}"\nactor = "handle"\nqueue = "trades"\n{more}\n'


def held_while_blocked(valkey: Valkey) -> int:
    """Wait until the queue is full, so that nothing moves any more, and return how many messages the blocked feed holds then."""
    client = valkey.client()
    wait_until(lambda: client.llen("dramatiq:trades") == QUEUE, 60, "the full queue")
    full_at = time.time()

    def held() -> int:
        for status in read_statuses(client, "dramatiq"):
            found = status["feeds"]["trades"]
            if status["at"] > full_at and found["state"] == "BLOCKED":
                return int(found["backlog"])
        return 0

    return wait_until(held, 60, "the feed to be blocked")


@pytest.mark.parametrize(
    ("bound", "fewest", "most"),
    [
        ("messages = 200", 200 // 2, 200 + OVERSHOOT),
        ("bytes = 200_000", 200_000 // MESSAGE // 2, 200_000 // SIZE + OVERSHOOT),
    ],
    ids=["messages", "bytes"],
)
def test_the_backlog_holds_its_bound_and_one_read_more_and_then_reading_stops(
    tmp_path: Path, shared_valkey: Valkey, bound: str, fewest: int, most: int
) -> None:
    with (
        ScriptedServer(send_all, timeout=60) as server,
        SupervisorProcess(tmp_path, feed(server.url, f"backlog = {{ {bound} }}"), shared_valkey.url) as supervisor,
    ):
        held = held_while_blocked(shared_valkey)
        with Consumer(shared_valkey.url) as consumer:
            consumer.wait_for(FRAMES)
        assert supervisor.stop() == 0
    assert fewest <= held <= most
    assert consumer.numbers == list(range(1, FRAMES + 1))
    assert len(server.recordings) == 1


def test_the_spool_holds_max_bytes_of_messages_and_one_read_more_and_takes_memory_at_a_stop(
    tmp_path: Path, shared_valkey: Valkey
) -> None:
    (tmp_path / "spool").mkdir()
    most, memory = 500_000, 100
    more = f'backlog = {{ messages = {memory}, bytes = 100_000 }}\nspool = {{ directory = "spool", max_bytes = {most} }}'
    with ScriptedServer(send_all, lambda client: client.listen(60), timeout=60) as server:
        with SupervisorProcess(tmp_path, SOON + feed(server.url, more), shared_valkey.url) as supervisor:
            held_while_blocked(shared_valkey)
            assert supervisor.stop() == 0, "what waits is on a disk that stays"
        held = int(supervisor.last_line.split(" spooled=")[1].split()[0])
        spool = opened(tmp_path / "spool")
        size = spool.size
        spool.close()
        with (
            SupervisorProcess(tmp_path, feed(server.url, more), shared_valkey.url) as supervisor,
            Consumer(shared_valkey.url) as consumer,
        ):
            consumer.wait_for(QUEUE + held)
            assert supervisor.stop() == 0
    assert most * 3 // 4 <= size <= most + (memory + 2 * OVERSHOOT) * MESSAGE, "at the stop what was in memory came to it"
    assert consumer.numbers == list(range(1, QUEUE + held + 1)), "the queue's, and then those from the disk"
