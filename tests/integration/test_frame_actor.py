"""From a socket to actors, in real processes: ``python -m ingest run`` with batches, and the ``dramatiq`` command."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis
from dramatiq.brokers.redis import RedisBroker

from ingest.broker.status import read_statuses
from tests.support.fault_feeds import feeds_toml
from tests.support.messages import Producer
from tests.support.numbered import NumberedStream, number_of, numbered_server
from tests.support.redis_server import Valkey
from tests.support.sentry_server import SentryServer
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until
from tests.support.workers_process import Project

TOP = '[workers]\nactors = ["shop.actors"]\n'
BATCHES = "batch = { size = 100 }\n"

#: No deadline that a busy machine could miss: what is sent on a connection that is then lost comes no more.
PATIENT = "open_timeout = 60\nping_interval = 0\n"

#: Writes down what each call got: payload, number, how many shared the message, how often it had been tried.
ACTORS = """
    import json
    import dramatiq
    from workers import current_frame, frame_actor

    results = open({results!r}, "a", buffering=1)

    def note(*values):
        results.write(json.dumps(values) + chr(10))

    @frame_actor(queue_name="trades", max_retries={retries}, min_backoff=1, max_backoff=1)
    def handle(frame):
        seen = current_frame()
        note(frame, seen.seq, seen.producer)
        if int(frame) % 97 == 0:
            raise ValueError("no luck with " + frame)
        if int(frame) % 101 == 0:
            raise dramatiq.errors.Retry("later", delay=1)

    @frame_actor(queue_name="trades", batches=True)
    def handle_lists(frames):
        note(frames, current_frame().seq, current_frame().count)

    @dramatiq.actor(queue_name="trades")
    def handle_plainly(payload):
        note(payload, current_frame().seq, current_frame().count)
"""


@pytest.fixture
def client(shared_valkey: Valkey) -> redis.Redis:
    return shared_valkey.client()


def shop(project: Project, url: str, extra: str, retries: int = 1) -> str:
    """Write a project of a user; return its feeds file."""
    feeds = feeds_toml(url, extra=PATIENT + extra, top=TOP + "[queues.trades]\nhigh_watermark = 10_000_000\n")
    project.write("feeds.toml", feeds)
    project.write("shop/__init__.py", "")
    project.write("shop/actors.py", ACTORS.format(results=str(project.folder / "results"), retries=retries))
    return feeds


def statuses(client: redis.Redis, feed: str = "trades") -> dict[str, int]:
    """Return the sums of what all processes tell of the feed."""
    found: Counter[str] = Counter()
    for status in read_statuses(client, "dramatiq"):
        found.update({name: value for name, value in status["feeds"].get(feed, {}).items() if isinstance(value, int)})
    return found


def test_every_frame_is_one_call_and_only_those_that_fail_come_again(
    project: Project, tmp_path: Path, shared_valkey: Valkey, client: redis.Redis
) -> None:
    stream = NumberedStream(rate=None, block=250, limit=3000)
    with numbered_server(stream) as server:
        feeds = shop(project, server.url, BATCHES)
        folder = tmp_path / "supervisor"
        folder.mkdir()
        with SupervisorProcess(folder, feeds, shared_valkey.url) as supervisor:
            process = project.run("workers", REDIS_URL=shared_valkey.url)
            bad = [number for number in range(1, 3001) if number % 97 == 0]
            late = [number for number in range(1, 3001) if number % 101 == 0 and number % 97]
            calls = 3000 + len(bad) + len(late)
            results: list[Any] = project.wait_for_results(calls)
            wait_until(lambda: client.zcard("dramatiq:trades.XQ") == len(bad) + len(late), 60, "the dead letters")
            wait_until(lambda: client.hlen("dramatiq:trades.msgs") == 0, 30, "an empty queue")
            wait_until(lambda: statuses(client)["processed"] == 3000 - len(bad) - len(late), 30, "the workers' numbers")
            wait_until(lambda: statuses(client)["failed"] == 2 * (len(bad) + len(late)), 30, "the failures")
            wait_until(lambda: statuses(client)["enqueued"] == 3000, 30, "the supervisor's numbers")
            assert 30 <= statuses(client)["messages"] < 3000
            assert supervisor.stop() == 0
    assert process.terminate() == 0, process.log
    assert len(project.results()) == calls, "something came once more"
    assert Counter(int(frame) for frame, _, _ in results) == {
        number: 1 + (number in bad) + (number in late) for number in range(1, 3001)
    }
    assert all(int(frame) == seq for frame, seq, _ in results), "current_frame() told another number"
    assert len({producer for _, _, producer in results}) == 1
    letters = [json.loads(data) for data in client.hvals("dramatiq:trades.XQ.msgs")]
    assert sorted(int(number) for letter in letters for number in letter["args"][0]) == sorted([*bad, *late])
    assert all(letter["options"]["frame"]["count"] == 1 for letter in letters)
    first = next(letter for letter in letters if letter["args"][0] == ["97"])
    assert first["options"]["frame"]["seq"] == int(first["message_id"][-12:], 16) == 97
    assert "ValueError: no luck with 97" in first["options"]["traceback"]


@pytest.mark.parametrize(("actor", "size"), [("handle_lists", 10), ("handle_plainly", 10), ("handle_lists", 1)])
def test_who_asks_for_lists_gets_them_and_so_does_a_plain_actor(
    project: Project, tmp_path: Path, shared_valkey: Valkey, actor: str, size: int
) -> None:
    stream = NumberedStream(rate=None, block=25, limit=50)
    with numbered_server(stream) as server:
        feeds = shop(project, server.url, f'actor = "{actor}"\nbatch = {{ size = {size} }}\n')
        folder = tmp_path / "supervisor"
        folder.mkdir()
        with SupervisorProcess(folder, feeds, shared_valkey.url) as supervisor:
            project.run("workers", REDIS_URL=shared_valkey.url)

            def arrived() -> list[int]:
                return sorted(number_of(each) for frames, *_ in project.results() for each in frames)

            wait_until(lambda: len(arrived()) == 50, 60, "all numbers")
            assert supervisor.stop() == 0
    assert arrived() == list(range(1, 51))
    for frames, seq, count in project.results():
        assert [number_of(each) for each in frames] == list(range(seq, seq + count))
        assert count <= size


def test_a_worker_that_is_killed_has_its_whole_message_delivered_again(
    project: Project, shared_valkey: Valkey, client: redis.Redis
) -> None:
    shop(project, "ws://127.0.0.1:1/", BATCHES)
    project.write(
        "shop/actors.py",
        f"""
        import os, pathlib, signal
        from workers import frame_actor

        folder = pathlib.Path({str(project.folder)!r})

        @frame_actor(queue_name="trades")
        def handle(frame):
            with (folder / "results").open("a") as file:
                file.write(frame + chr(10))
            if frame == "3" and not (folder / "killed").exists():
                (folder / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    producer = Producer(client, actor="handle")
    producer.send([str(number) for number in range(1, 6)], count=5)
    process = project.run("workers", REDIS_URL=shared_valkey.url)
    wait_until((project.folder / "killed").exists, 60, "the kill")
    process.kill()
    # Dramatiq's own rule, without waiting for its time and its chance.
    client.zadd("dramatiq:__heartbeats__", dict.fromkeys(client.zrange("dramatiq:__heartbeats__", 0, -1), 0))
    broker = RedisBroker(url=shared_valkey.url, middleware=[], maintenance_chance=1_000_000)
    broker.do_qsize("trades")
    broker.close()
    again = project.run("workers", REDIS_URL=shared_valkey.url)

    results = project.wait_for_results(8)

    assert results == [1, 2, 3, 1, 2, 3, 4, 5]
    assert again.terminate() == 0, again.log


def test_a_failing_frame_is_reported_to_sentry_without_the_others(
    project: Project, shared_valkey: Valkey, client: redis.Redis, sentry_server: SentryServer
) -> None:
    shop(project, "ws://127.0.0.1:1/", BATCHES, retries=0)
    Producer(client, actor="handle").send(["10000001", "97", "20000003"], count=3)
    project.run("workers", REDIS_URL=shared_valkey.url, SENTRY_DSN=sentry_server.dsn)

    wait_until(lambda: sentry_server.events, 60, "the event")
    wait_until(lambda: client.zcard("dramatiq:trades.XQ") == 1, 30, "the dead letter")

    [event] = sentry_server.events
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    assert not any(other in sentry_server.raw for other in ("10000001", "20000003"))
