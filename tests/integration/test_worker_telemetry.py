"""What a worker's log and Sentry say of the frame that is being processed, in the real ``dramatiq`` command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.messages import Producer
from tests.support.redis_server import Valkey
from tests.support.sentry_server import SentryServer
from tests.support.waiting import wait_until
from tests.support.workers_process import Project, WorkersProcess

FEEDS = """
    [workers]
    actors = ["shop.actors"]

    [telemetry]
    send_frames = {send_frames}

    [feeds.trades]
    url = "ws://127.0.0.1:1/"
    actor = "handle_trade"
    telemetry_id = "trades-eu"
"""

ACTORS = """
    import logging
    import dramatiq
    from workers import frame_actor

    @frame_actor(queue_name="trades", max_retries=0)
    def handle_trade(payload):
        logging.getLogger("shop").warning("odd price")
        if payload.startswith("bad"):
            raise (KeyError if "many" in payload else ValueError)("no price")
"""


@pytest.fixture
def shop(project: Project) -> Project:
    project.write("feeds.toml", FEEDS.format(send_frames="false"))
    project.write("shop/__init__.py", "")
    project.write("shop/actors.py", ACTORS)
    return project


def lines(process: WorkersProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.log.splitlines() if line.startswith('{"at"')]


def test_every_line_that_is_logged_within_an_actor_says_feed_seq_and_lag(shop: Project, valkey: Valkey) -> None:
    producer = Producer(valkey.client())
    producer.send("good", age=3.0)
    producer.send("bad")
    producer.send(["good", "good"], count=2)
    producer.seq += 1
    process = shop.run("workers", REDIS_URL=valkey.url, LOG_FORMAT="json")

    wait_until(lambda: process.log.count("odd price") == 4, 60, "the frames")
    wait_until(lambda: "Failed to process" in process.log, 60, "the failure")
    process.terminate()

    told = lines(process)
    odd = [line for line in told if line.get("message") == "odd price"]
    assert [(line["feed"], line["seq"]) for line in odd] == [("trades-eu", seq) for seq in (1, 2, 3, 4)]
    assert odd[0]["lag"] >= 3.0
    [failed] = [line for line in told if line.get("logger", "").startswith("dramatiq.worker") and "Failed" in line["message"]]
    assert (failed["feed"], failed["seq"], failed["lag"] >= 0) == ("trades-eu", 2, True)
    assert "ValueError: no price" in failed["traceback"]
    assert all("seq" not in line for line in told if line not in odd and line is not failed)


@pytest.mark.parametrize("send_frames", [False, True])
def test_sentry_hears_which_frame_failed_and_what_was_in_it_only_where_that_is_allowed(
    shop: Project, valkey: Valkey, sentry_server: SentryServer, send_frames: bool
) -> None:
    shop.write("feeds.toml", FEEDS.format(send_frames=str(send_frames).lower()))
    producer = Producer(valkey.client())
    producer.send("bad alone ?token=hunter2-token " + "x" * 5000)
    producer.send(["good", "bad of many"], count=2)
    shop.run("workers", REDIS_URL=valkey.url, SENTRY_DSN=sentry_server.dsn, SENTRY_RELEASE="shop@7")

    wait_until(lambda: len(sentry_server.events) == 2, 60, "both failures")

    assert {event["release"] for event in sentry_server.events} == {"shop@7"}
    assert {event["tags"]["feed"] for event in sentry_server.events} == {"trades-eu"}
    by_seq = {event["contexts"]["frame"]["seq"]: event["contexts"]["frame"] for event in sentry_server.events}
    assert sorted(by_seq) == [1, 3]
    assert by_seq[1]["lag"] >= 0
    if send_frames:
        assert by_seq[1]["payload"].startswith("bad alone ?token=*** xxx")
        assert len(by_seq[1]["payload"]) < 2100
        assert by_seq[3]["payload"] == "bad of many"
    else:
        assert "payload" not in by_seq[1]
        assert "alone" not in sentry_server.raw
        assert "of many" not in sentry_server.raw
    assert "hunter2" not in sentry_server.raw


FAILING = """
    import dramatiq
    from workers import frame_actor

    def price_of(payload):
        raise KeyError(payload)

    @dramatiq.actor(queue_name="trades", max_retries=2, min_backoff=1, max_backoff=1)
    def handle_trade(payload):
        if payload == "last":
            raise ValueError("the last one")
        if payload.startswith("odd"):
            raise KeyError(payload)
        price_of(payload)
"""


def test_sentry_hears_of_a_cause_once_and_not_of_each_attempt_at_each_frame(
    shop: Project, valkey: Valkey, sentry_server: SentryServer
) -> None:
    shop.write("shop/actors.py", FAILING)
    producer = Producer(valkey.client())
    for number in range(30):
        producer.send(f"{'odd' if number % 2 else 'even'} {number}")
    process = shop.run("workers", REDIS_URL=valkey.url, SENTRY_DSN=sentry_server.dsn)
    wait_until(lambda: valkey.client().zcard("dramatiq:trades.XQ") == 30, 60, "all to be given up")
    producer.send("last")
    wait_until(lambda: valkey.client().zcard("dramatiq:trades.XQ") == 31, 60, "the last to be given up")
    process.terminate()  # sends what is still to be sent

    assert process.log.count("Failed to process message") == 93
    assert sorted(event["fingerprint"] for event in sentry_server.events) == [
        ["actor_failed", "trades-eu", "handle_trade", "KeyError", "shop.actors.handle_trade"],
        ["actor_failed", "trades-eu", "handle_trade", "KeyError", "shop.actors.price_of"],
        ["actor_failed", "trades-eu", "handle_trade", "ValueError", "shop.actors.handle_trade"],
    ]
