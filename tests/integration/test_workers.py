"""``dramatiq workers``, the real command, against a real Valkey, with messages as the supervisor writes them."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from ingest.broker.status import read_statuses
from tests.support.messages import Producer
from tests.support.redis_server import Valkey
from tests.support.sentry_server import SentryServer
from tests.support.waiting import wait_until
from tests.support.workers_process import ROOT, Project, WorkersProcess

FEEDS = """
    [broker]
    middleware = ["dramatiq.middleware:CurrentMessage"]

    [workers]
    actors = ["shop.actors"]
"""

ACTORS = """
    import json
    import dramatiq
    from dataclasses import asdict
    from dramatiq.middleware import CurrentMessage
    from workers import current_frame

    def note(*values):
        with open({results!r}, "a") as file:
            file.write(json.dumps(values) + chr(10))

    @dramatiq.actor(queue_name="trades")
    def handle_trade(payload):
        frame = current_frame()
        message = CurrentMessage.get_current_message()
        note(payload, frame and asdict(frame), message.options.get("frame"))

    @dramatiq.actor(queue_name="trades", max_retries=1, min_backoff=1, max_backoff=1)
    def fail(payload):
        note("failing", current_frame().seq)
        raise ValueError("no " + payload)
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project of a user: feeds file and actors that write down what they see."""
    project.write("feeds.toml", FEEDS)
    project.write("shop/__init__.py", "")
    project.write("shop/actors.py", ACTORS.format(results=str(project.folder / "results")))
    return project


@pytest.fixture
def client(valkey: Valkey) -> redis.Redis:
    return valkey.client()


def status(client: redis.Redis, process: WorkersProcess, namespace: str = "dramatiq") -> dict[str, Any]:
    """Return the one worker's status; its process must not have ended badly meanwhile."""
    statuses = read_statuses(client, namespace)
    assert len(statuses) <= 1, process.log
    return statuses[0] if statuses else {"feeds": {}, "final": False}


def test_an_actor_gets_the_payload_and_may_read_its_frame(shop: Project, valkey: Valkey, client: redis.Redis) -> None:
    producer = Producer(client)
    producer.send("first")
    producer.send({"price": 1.5})
    shop.run("workers", REDIS_URL=valkey.url)

    results = shop.wait_for_results(2)

    assert [payload for payload, _, _ in results] == ["first", {"price": 1.5}]
    for seq, (_, frame, option) in enumerate(results, start=1):
        assert frame == {
            "feed": "trades",
            "seq": seq,
            "producer": producer.producer,
            "count": 1,
            "late": False,
            "received_us": option["received_us"],
        }
        assert option == {"feed": "trades", "seq": seq, "received_us": frame["received_us"]}


def test_a_message_that_is_not_ours_has_no_frame(shop: Project, valkey: Valkey, client: redis.Redis) -> None:
    shop.write(
        "send.py",
        """
        import dramatiq
        from dramatiq.brokers.redis import RedisBroker
        import os
        dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))
        from shop.actors import handle_trade
        handle_trade.send("by hand")
        """,
    )
    process = shop.run("workers", REDIS_URL=valkey.url).ready()
    shop.python("send.py", REDIS_URL=valkey.url)

    assert shop.wait_for_results(1) == [["by hand", None, None]]
    assert status(client, process)["feeds"] == {}


def test_it_runs_from_our_own_root_and_in_another_namespace(shop: Project, valkey: Valkey, client: redis.Redis) -> None:
    shop.write("feeds.toml", FEEDS.replace("[broker]", '[broker]\n    namespace = "shop:live"'))
    process = shop.run(
        "workers", cwd=ROOT, REDIS_URL=valkey.url, FEEDS_FILE=str(shop.folder / "feeds.toml"), PYTHONPATH=str(shop.folder)
    )
    Producer(client, namespace="dramatiq").send("not for us")
    Producer(client, namespace="shop:live").send("for us")

    assert [payload for payload, _, _ in shop.wait_for_results(1)] == ["for us"]
    wait_until(lambda: status(client, process, "shop:live")["feeds"], 60, "the status")
    assert client.llen("dramatiq:trades") == 1


def test_a_failing_message_is_retried_and_dead_lettered_by_stock_rules(
    shop: Project, valkey: Valkey, client: redis.Redis
) -> None:
    identity = Producer(client, actor="fail").send("luck")
    process = shop.run("workers", REDIS_URL=valkey.url)

    dead = wait_until(lambda: client.hvals("dramatiq:trades.XQ.msgs"), 60, "the dead letter")

    assert identity.encode() in dead[0]
    assert b"ValueError: no luck" in dead[0]
    assert shop.results() == [["failing", 1], ["failing", 1]]
    wait_until(lambda: client.hlen("dramatiq:trades.msgs") == client.hlen("dramatiq:trades.DQ.msgs") == 0, 60, "empty queues")
    feeds = wait_until(lambda: status(client, process)["feeds"], 60, "the status")
    wait_until(lambda: status(client, process)["feeds"]["trades"]["failed"] == 2, 60, f"two failures in {feeds}")


def test_sigterm_lets_the_message_in_hand_finish_and_leaves_a_final_status(
    shop: Project, valkey: Valkey, client: redis.Redis
) -> None:
    shop.write(
        "shop/actors.py",
        f"""
        import dramatiq, pathlib, time

        @dramatiq.actor(queue_name="trades")
        def handle_trade(payload):
            folder = pathlib.Path({str(shop.folder)!r})
            (folder / "started").touch()
            while not (folder / "go").exists():
                time.sleep(0.01)
            (folder / "results").write_text('"done"')
        """,
    )
    process = shop.run("workers", REDIS_URL=valkey.url)
    Producer(client).send("slow", age=2.0)
    wait_until((shop.folder / "started").exists, 60, "the message to be in hand")

    process.signal_terminate()
    wait_until(lambda: "Stopping worker process..." in process.log, 60, "the signal to be heard")
    (shop.folder / "go").touch()
    code = process.wait()

    assert code == 0, process.log
    assert shop.results() == ["done"]
    last = status(client, process)
    assert (last["final"], last["kind"]) == (True, "worker")
    assert last["feeds"]["trades"]["processed"] == 1
    assert last["feeds"]["trades"]["failed"] == 0
    assert last["feeds"]["trades"]["lag_ms"]["p50"] >= 1900
    assert "Traceback" not in process.log


def test_the_status_comes_every_second_and_survives_an_outage_of_redis(
    shop: Project, valkey: Valkey, client: redis.Redis
) -> None:
    process = shop.run("workers", REDIS_URL=valkey.url, dramatiq_restart_delay="100").ready()
    first = wait_until(lambda: status(client, process).get("at"), 60, "a first status")
    wait_until(lambda: status(client, process).get("at", first) > first, 60, "a second one")

    valkey.stop()
    wait_until(lambda: "status_unavailable" in process.log, 60, "the outage to be noticed")
    valkey.start()
    Producer(valkey.client()).send("afterwards")

    assert [payload for payload, _, _ in shop.wait_for_results(1)] == ["afterwards"]
    wait_until(lambda: status(valkey.client(), process)["feeds"], 60, "the status to come back")
    wait_until(lambda: "status_available" in process.log, 60, "the word that it is back")
    assert process.log.count("status_unavailable") == 1
    assert process.terminate() == 0, process.log


def test_sigterm_ends_in_order_while_redis_is_away(shop: Project, valkey: Valkey) -> None:
    process = shop.run("workers", REDIS_URL=valkey.url).ready()
    valkey.stop()
    wait_until(lambda: "status_unavailable" in process.log, 60, "the outage to be noticed")

    assert process.terminate() == 0, process.log
    assert "Worker has been shut down." in process.log
    assert "Traceback" not in process.log


def test_the_users_own_middleware_is_active(shop: Project, valkey: Valkey, client: redis.Redis) -> None:
    shop.write(
        "shop/plumbing.py",
        f"""
        import dramatiq
        from dramatiq.middleware import Retries
        from workers import current_frame

        class Shouting(dramatiq.Middleware):
            def before_process_message(self, broker, message):
                with open({str(shop.folder / "results")!r}, "a") as file:
                    file.write('"before %s"' % current_frame().feed + chr(10))

        def middleware():
            return [Shouting(), Retries(max_retries=0)]
        """,
    )
    shop.write("feeds.toml", FEEDS.replace('CurrentMessage"', 'CurrentMessage", "shop.plumbing:middleware"'))
    shop.write("shop/actors.py", ACTORS.format(results=str(shop.folder / "results")).replace("max_retries=1, ", ""))
    Producer(client, actor="fail").send("luck")
    shop.run("workers", REDIS_URL=valkey.url)

    wait_until(lambda: client.zcard("dramatiq:trades.XQ") == 1, 60, "the dead letter, without a retry")

    assert shop.results() == ["before trades", ["failing", 1]]


def test_a_failing_actor_is_reported_to_sentry_without_the_frame(
    shop: Project, valkey: Valkey, client: redis.Redis, sentry_server: SentryServer
) -> None:
    Producer(client, actor="fail", options={"max_retries": 0}).send("hunter2")
    shop.run("workers", REDIS_URL=valkey.url, SENTRY_DSN=sentry_server.dsn)

    wait_until(lambda: sentry_server.events, 60, "the event")

    [event] = sentry_server.events
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    assert event["tags"]["process"] == "worker"
    # The actor put the payload into its exception; nothing else of the message may leave.
    assert sentry_server.raw.count("hunter2") == 1
