"""A queue at its watermark swallows no retry: what fails in a worker comes back, whoever runs the worker."""

from __future__ import annotations

import json
import sys
import time

import dramatiq
import pytest
import redis

from ingest.broker import Limits, RateLimitedBroker
from tests.support.messages import Producer
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until
from tests.support.workers_process import Project

APP = """
import json, os, time
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from ingest.broker import Limits, RateLimitedBroker

URL = os.environ["REDIS_URL"]
small = Limits(high=3, low=1)
broker = RateLimitedBroker(url=URL, limits=small, enqueue_timeout=0) if os.environ["OURS"] else RedisBroker(url=URL)
dramatiq.set_broker(broker)

def note(*values):
    with open("results", "a") as file:
        file.write(json.dumps(values) + chr(10))

@dramatiq.actor(queue_name="trades")
def hold(payload):
    time.sleep(0.01)

@dramatiq.actor(queue_name="trades", max_retries=1, min_backoff=1, max_backoff=1)
def fail(payload):
    note("failing", payload, broker.client.llen("dramatiq:trades") >= 3)
    follow.send(payload)
    raise ValueError(payload)

@dramatiq.actor(queue_name="trades")
def follow(payload):
    note("followed", payload)

follow.send("at import")
"""


#: Messages that keep the queue full for so long that a retry falls due meanwhile: a second and a half.
HOLDING = 150


def fill(client: redis.Redis) -> None:
    """Put one message that fails in front, and others behind it."""
    Producer(client, actor="fail").send("luck")
    others = Producer(client, actor="hold")
    for number in range(HOLDING):
        others.send(number)


@pytest.mark.parametrize("ours", ["yes", ""], ids=["our broker", "stock broker"])
def test_in_the_dramatiq_command(project: Project, valkey: Valkey, ours: str) -> None:
    client = valkey.client()
    project.write("app.py", APP)
    fill(client)

    process = project.run("app", REDIS_URL=valkey.url, OURS=ours)
    [dead] = wait_until(lambda: client.hvals("dramatiq:trades.XQ.msgs"), 60, "the dead letter")

    assert json.loads(dead)["options"]["retries"] == 1
    results = project.wait_for_results(5)
    assert results[0] == ["failing", "luck", True], "the queue was at its watermark"
    assert (
        sorted(each[:2] for each in results)
        == [["failing", "luck"]] * 2 + [["followed", "at import"]] + [["followed", "luck"]] * 2
    )
    wait_until(lambda: nothing_left(client), 30, "empty queues")
    assert "RateLimitExceeded" not in process.log


def nothing_left(client: redis.Redis) -> bool:
    return not any(client.exists(f"dramatiq:{name}", f"dramatiq:{name}.msgs") for name in ("trades", "trades.DQ"))


def test_in_a_worker_within_another_program(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dramatiq.cli", raising=False)
    client = valkey.client()
    broker = RateLimitedBroker(url=valkey.url, limits=Limits(high=3, low=1), enqueue_timeout=0)
    tries: list[bool] = []

    def fail(payload: str) -> None:
        tries.append(client.llen("dramatiq:trades") >= 3)
        raise ValueError(payload)

    dramatiq.actor(fail, queue_name="trades", broker=broker, max_retries=1, min_backoff=1, max_backoff=1)
    dramatiq.actor(lambda payload: time.sleep(0.01), actor_name="hold", queue_name="trades", broker=broker)
    fill(client)
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
    worker.start()
    try:
        wait_until(lambda: client.zcard("dramatiq:trades.XQ") == 1, 60, "the dead letter")
        wait_until(lambda: nothing_left(client), 30, "empty queues")
    finally:
        worker.stop()
        broker.close()
    assert len(tries) == 2
    assert tries[0], "the queue was at its watermark"
