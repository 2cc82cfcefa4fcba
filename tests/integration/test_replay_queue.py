"""`replay --to-queue` as a process: what is in the queue, in which order, and what is said where not all of it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.support.command_line import run_command
from tests.support.queue_content import messages_in
from tests.support.records import STARTED_US, Command, close, connection, lost, text, write_record
from tests.support.redis_server import Valkey
from tests.support.supervisor import payloads_in
from tests.support.waiting import wait_until

SESSION = """
from ingest import Emit, Session, Skip

class Counting(Session):
    awaits_ready = True

    def setup(self):
        self.memory["connections"] = self.memory.get("connections", 0) + 1
        self.seen = 0

    def url(self):
        raise RuntimeError("a replay asks nobody")

    headers = url

    def on_upgrade(self):
        return ["subscribe"]

    def on_frame(self, payload):
        if payload == "hello":
            return Skip(ready=True, reply=["thanks"])
        if payload == "boom":
            raise ValueError("what a bug")
        self.seen += 1
        return Emit([payload, self.memory["connections"], self.seen], ack=["ack"])
"""


def feed_file(folder: Path, extra: str = "", queue: str = "") -> None:
    (folder / "my_session.py").write_text(SESSION)
    feed = '[feeds.trades]\nurl = "ws://127.0.0.1:1/"\nactor = "handle"\nqueue = "trades"\nidle_timeout = 1\n'
    (folder / "feeds.toml").write_text(f"{feed}{extra}\n{queue}")


def two_connections(path: Path, **options: bool) -> Path:
    first = connection(0, ["hello", "a", "b"], subscribes=["subscribe"], end=[close(4000, 1012), lost(4000, "ClosedByServer")])
    second = connection(10_000, ["hello", "c", "d"], end=[lost(14_000, "Stopped")])
    return write_record(path, [*first, *second], **options)


def test_through_the_session_with_a_new_one_for_each_connection(tmp_path: Path, shared_valkey: Valkey) -> None:
    feed_file(tmp_path, 'session = "my_session:Counting"')
    two_connections(tmp_path / "r")
    done = run_command(tmp_path, "replay", "r", "--to-queue", "--at-once", REDIS_URL=shared_valkey.url)
    assert done.returncode == 0, done.stderr
    client = shared_valkey.client()
    assert payloads_in(client) == [["a", 1, 1], ["b", 1, 2], ["c", 2, 1], ["d", 2, 2]]
    assert (
        "replayed r as trades: 6 frames, 2 connections, 4 payloads in their queues, 0 dropped, 0 frames not read in"
        in done.stdout
    )
    frames = [message["options"]["frame"] for message in messages_in(client)]
    assert [frame["received_us"] for frame in frames] == [STARTED_US + at for at in (2000, 3000, 12_000, 13_000)]
    assert [frame["seq"] for frame in frames] == [1, 2, 3, 4]
    assert "late" not in frames[0]
    # Nothing but the messages is left: a supervisor of that feed finds what it left.
    assert {key.decode() for key in client.keys("*")} == {"dramatiq:trades", "dramatiq:trades.msgs"}


def test_now_and_another_feed_and_batches(tmp_path: Path, shared_valkey: Valkey) -> None:
    feed_file(tmp_path)
    with (tmp_path / "feeds.toml").open("a") as file:
        file.write('[feeds.staging]\nurl = "ws://h/"\nactor = "other"\nqueue = "trades"\nbatch = { size = 4 }\n')
    two_connections(tmp_path / "r")
    options = ["--to-queue", "--at-once", "--feed", "staging", "--now"]
    assert run_command(tmp_path, "replay", "r", *options, REDIS_URL=shared_valkey.url).returncode == 0
    messages = messages_in(shared_valkey.client())
    assert [payload for message in messages for payload in message["args"][0]] == ["hello", "a", "b", "hello", "c", "d"]
    assert {message["actor_name"] for message in messages} == {"other"}
    assert all(message["options"]["frame"]["received_us"] > STARTED_US + 86_400_000_000 for message in messages)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def test_a_stop_loses_nothing_and_says_how_to_go_on(tmp_path: Path, shared_valkey: Valkey) -> None:
    """The queue is full at 100; Ctrl-C there, then workers empty it, then the rest."""
    feed_file(tmp_path, "backlog = { messages = 50 }", "[queues.trades]\nhigh_watermark = 100\nlow_watermark = 50\n")
    write_record(tmp_path / "r", connection(0, numbers(1, 1000)))
    client = shared_valkey.client()
    with Command(tmp_path, "replay", "r", "--to-queue", "--at-once", REDIS_URL=shared_valkey.url) as command:
        wait_until(lambda: client.llen("dramatiq:trades") == 100, 60, "a full queue")
        command.interrupt()
        assert command.wait() == 1
        assert command.err == "stopped: go on with --from 101\n"
        assert "100 payloads in their queues" in command.out
    assert payloads_in(client) == numbers(1, 100)
    with Command(tmp_path, "replay", "r", "--to-queue", "--at-once", "--from", "101", REDIS_URL=shared_valkey.url) as command:
        arrived = numbers(1, 100)
        client.delete("dramatiq:trades", "dramatiq:trades.msgs")
        arrived += drained(client, command)
        assert command.wait() == 0
    assert arrived == numbers(1, 1000)


def test_frames_of_one_read_go_on_together_and_it_says_how_many_come_again(tmp_path: Path, shared_valkey: Valkey) -> None:
    feed_file(tmp_path, queue="[queues.trades]\nhigh_watermark = 100\nlow_watermark = 50\n")
    write_record(tmp_path / "r", connection(0, [], end=[text(1000, number) for number in numbers(1, 200)]))
    client = shared_valkey.client()
    with Command(tmp_path, "replay", "r", "--to-queue", "--at-once", REDIS_URL=shared_valkey.url) as command:
        wait_until(lambda: client.llen("dramatiq:trades") == 100, 60, "a full queue")
        command.interrupt()
        assert command.wait() == 1
        said = "go on with --from 1; 100 payloads of the read that begins there are in their queues already and come again"
        assert command.err == f"stopped: {said}\n"


def drained(client: redis.Redis, command: Command) -> list[str]:
    """Empty the queue, again and again, as workers would, until the command is through; it never held more than it may."""
    found: list[str] = []
    while command.process.poll() is None or client.llen("dramatiq:trades"):
        ids = client.lrange("dramatiq:trades", 0, -1)
        assert len(ids) <= 100
        if ids:
            found += payloads_in(client)[: len(ids)]
            client.ltrim("dramatiq:trades", len(ids), -1)
            client.hdel("dramatiq:trades.msgs", *ids)
    return found


def test_from_leads_the_session_through_what_came_before(tmp_path: Path, shared_valkey: Valkey) -> None:
    feed_file(tmp_path, 'session = "my_session:Counting"')
    two_connections(tmp_path / "r")
    done = run_command(tmp_path, "replay", "r", "--to-queue", "--from", "3", REDIS_URL=shared_valkey.url)
    assert done.returncode == 0, done.stderr
    assert payloads_in(shared_valkey.client()) == [["b", 1, 2], ["c", 2, 1], ["d", 2, 2]]


def test_a_session_that_fails_is_said_and_the_next_connection_goes_on(tmp_path: Path, shared_valkey: Valkey) -> None:
    feed_file(tmp_path, 'session = "my_session:Counting"')
    first = connection(0, ["hello", "a", "boom", "b", "c"], end=[lost(9000, "ConnectionDropped")])
    write_record(tmp_path / "r", [*first, *connection(10_000, ["hello", "d"])])
    done = run_command(tmp_path, "replay", "r", "--to-queue", "--at-once", REDIS_URL=shared_valkey.url)
    assert done.returncode == 1
    assert "the session failed: on_frame raised ValueError: what a bug; the rest of that connection was not read" in done.stderr
    assert "2 frames not read" in done.stdout
    assert payloads_in(shared_valkey.client()) == [["a", 1, 1], ["d", 2, 1]]


def test_at_its_pace(tmp_path: Path, shared_valkey: Valkey) -> None:
    """The second frame is due after 30 seconds: at once it is there, at the recorded pace it is not, at 1000 times it is."""
    feed_file(tmp_path)
    write_record(tmp_path / "r", connection(0, ["a", "b"], every_us=30_000_000))
    client = shared_valkey.client()
    with Command(tmp_path, "replay", "r", "--to-queue", REDIS_URL=shared_valkey.url) as command:
        wait_until(lambda: client.llen("dramatiq:trades") == 1, 60, "the first frame")
        command.interrupt()
        assert command.wait() == 1
        assert command.err == "stopped: go on with --from 2\n"
    assert run_command(tmp_path, "replay", "r", "--to-queue", "--speed", "1000", REDIS_URL=shared_valkey.url).returncode == 0
    assert payloads_in(client) == ["a", "a", "b"]


@pytest.mark.parametrize(("damage", "said"), [(False, "cut short"), (True, "damaged")])
def test_what_is_whole_of_a_record_is_replayed(tmp_path: Path, shared_valkey: Valkey, damage: bool, said: str) -> None:
    feed_file(tmp_path)
    two_connections(tmp_path / "r", ended=False)
    if damage:
        with (tmp_path / "r").open("ab") as file:
            file.write(b"\xff" * 40)
    done = run_command(tmp_path, "replay", "r", "--to-queue", "--at-once", REDIS_URL=shared_valkey.url)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.endswith("what is whole of it was replayed\n")
    assert payloads_in(shared_valkey.client()) == ["hello", "a", "b", "hello", "c", "d"]
    listed = run_command(tmp_path, "replay", "r")
    assert listed.returncode == 1
    assert "connection 2: 3 received, 0 sent, 3 payloads; Stopped" in listed.stdout
    assert said in listed.stdout


def test_a_redis_that_restarts_meanwhile(tmp_path: Path, make_valkey) -> None:
    """What it confirmed it keeps; what it did not is sent again, once."""
    valkey = make_valkey(appendonly="yes", appendfsync="always")
    feed_file(tmp_path)
    write_record(tmp_path / "r", connection(0, numbers(1, 2000), every_us=1000))
    client = valkey.client()
    with Command(tmp_path, "replay", "r", "--to-queue", REDIS_URL=valkey.url) as command:
        wait_until(lambda: client.llen("dramatiq:trades") > 100, 60, "the first frames")
        valkey.kill()
        valkey.start()
        assert command.wait(60) == 0, command.err
    assert payloads_in(valkey.client()) == numbers(1, 2000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["r", "--to-queue", "--speed", "0"], "--speed is 0; it must be more than 0"),
        (["r", "--to-queue", "--from", "0"], "--from is 0; it must be more than 0"),
        (["r", "--to-queue", "--at-once", "--speed", "2"], "--at-once and --speed contradict each other: leave one out"),
        (["r", "--to-queue", "--serve", "1"], "--to-queue and --serve are two replays: choose one"),
        (["r", "--serve", "1", "--wait", "long"], "--wait is long; it must be subscribe, all or none"),
        (["r", "--to-queue", "--feed", "trade"], "--feed trade: there is no such feed; did you mean trades?"),
        (["r", "--to-queue"], "broker.url: Redis is unreachable"),
        (["none", "--to-queue"], "none cannot be read: No such file or directory"),
        ([".", "--to-queue"], ". cannot be read: Is a directory"),
        (["feeds.toml", "--to-queue"], "feeds.toml: this is no record of a feed: it is not compressed with zstd"),
        (["newer", "--serve", "1"], "newer: the record was written by a newer version: its format is version 9"),
        (["failed", "--serve", "1"], "failed: there is no connection in it that reached a server"),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], said: str) -> None:
    feed_file(tmp_path)
    two_connections(tmp_path / "r")
    write_record(tmp_path / "failed", [])
    write_record(tmp_path / "newer", [text(0, "a")], version=9)
    done = run_command(tmp_path, "replay", *arguments, REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
