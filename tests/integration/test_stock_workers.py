"""A stock Dramatiq app consumes the supervisor's messages: with nothing of ours imported, and with `frame_actor` alone."""

from __future__ import annotations

import json

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker

from tests.support.messages import Producer
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until
from tests.support.workers_process import Project

APP = """
import json, os, sys
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage

broker = RedisBroker(url=os.environ["REDIS_URL"], namespace=os.environ.get("NAMESPACE", "dramatiq"))
broker.add_middleware(CurrentMessage())
dramatiq.set_broker(broker)

def note(*values):
    with open("results", "a") as file:
        file.write(json.dumps(values) + chr(10))

@dramatiq.actor(queue_name="trades")
def handle_trade(payload):
    ours = [name for name in sys.modules if name.split(".")[0] in ("ingest", "settings", "workers")]
    note(payload, CurrentMessage.get_current_message().options["frame"], ours)

@dramatiq.actor(queue_name="trades", min_backoff=1, max_backoff=1)
def fail(payload):
    note("failing")
    raise ValueError(payload)
"""


@pytest.fixture
def app(project: Project) -> Project:
    project.write("app.py", APP)
    return project


@pytest.mark.parametrize("namespace", ["dramatiq", "shop"])
def test_it_reads_payload_and_frame(app: Project, valkey: Valkey, namespace: str) -> None:
    client = valkey.client()
    producer = Producer(client, namespace=namespace)
    producer.send("first")
    producer.send({"price": 1.5})

    process = app.run("app", REDIS_URL=valkey.url, NAMESPACE=namespace, PYTHONPATH="")
    results = app.wait_for_results(2)

    assert [payload for payload, _, _ in results] == ["first", {"price": 1.5}]
    assert [(frame["feed"], frame["seq"]) for _, frame, _ in results] == [("trades", 1), ("trades", 2)]
    assert [ours for _, _, ours in results] == [[], []]
    wait_until(lambda: client.hlen(f"{namespace}:trades.msgs") == 0, 60, "both to be acknowledged")
    assert process.terminate() == 0, process.log


def test_a_failure_is_retried_and_dead_lettered(app: Project, valkey: Valkey) -> None:
    client = valkey.client()
    identity = Producer(client, actor="fail", options={"max_retries": 2}).send("luck")

    app.run("app", REDIS_URL=valkey.url, PYTHONPATH="")
    [dead] = wait_until(lambda: client.hvals("dramatiq:trades.XQ.msgs"), 60, "the dead letter")

    message = json.loads(dead)
    assert message["message_id"] == identity
    assert message["options"]["retries"] == 2
    assert (message["options"]["frame"]["feed"], message["options"]["frame"]["seq"]) == ("trades", 1)
    assert app.results() == [["failing"]] * 3


FRAMES = """
import os
import dramatiq
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(url=os.environ["REDIS_URL"])
dramatiq.set_broker(broker)

from app_frames import handle_trade  # actors come last, as in any application
"""

FRAME_ACTORS = """
import json
from workers import current_frame, frame_actor

failed = []

@frame_actor(queue_name="trades", min_backoff=1, max_backoff=1)
def handle_trade(payload):
    with open("results", "a") as file:
        file.write(json.dumps([payload, current_frame().seq]) + chr(10))
    if payload == "y" and not failed:
        failed.append(payload)
        raise ValueError(payload)
"""


def test_an_application_with_its_own_broker_may_have_frame_actors(project: Project, valkey: Valkey) -> None:
    """Importing `workers` starts nothing there: no settings are read, and the broker is not replaced."""
    project.write("app.py", FRAMES)
    project.write("app_frames.py", FRAME_ACTORS)
    option = {"feed": "trades", "seq": 5, "received_us": 1_790_000_000_000_000, "count": 3}
    message = dramatiq.Message("trades", "handle_trade", (["x", "y", "z"],), {}, {"frame": option})
    RedisBroker(client=valkey.client(), middleware=[]).enqueue(message)

    process = project.run("app", REDIS_URL=valkey.url)
    results = project.wait_for_results(4)

    assert results == [["x", 5], ["y", 6], ["z", 7], ["y", 6]]
    wait_until(lambda: valkey.client().hlen("dramatiq:trades.msgs") == 0, 60, "all to be acknowledged")
    assert process.terminate() == 0, process.log
