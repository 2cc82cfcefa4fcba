"""What a feed's settings make of its messages: in the queue, and in the actor of a real worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from ingest.testing import ScriptedServer
from ingest.testing.script import ScriptedConnection
from tests.support.queue_content import messages_in
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until
from tests.support.workers_process import Project

#: Every byte there is, in an order that is no UTF-8.
BYTES = bytes(range(256))

#: What the server sends on the path of a feed's name; the feed's own keys; and what the actor must get.
FEEDS: dict[str, tuple[list[Any], str, list[Any]]] = {
    "as_text": (["é☃", '{"a": 1}'], "", ["é☃", '{"a": 1}']),
    "as_json": (['{"b": [1, 2.50, null]}', '"text"'], 'payload = "json"', [{"b": [1, 2.5, None]}, "text"]),
    "base64": ([b"\x00\xff\xfe", b""], "", ["AP/+", ""]),
    "utf_8": (["é☃\0".encode()], 'binary = "utf-8"', ["é☃\0"]),
    "latin_1": ([BYTES], 'binary = "latin-1"', [BYTES.decode("latin-1")]),
    "json_of_bytes": ([b"\x00\xff"], 'payload = "json"\nbinary = "base64"', ["AP8="]),
}

ACTORS = """
    import json
    import dramatiq
    from workers import current_frame

    def note(*values):
        with open("results", "a") as file:
            file.write(json.dumps(values) + chr(10))

    @dramatiq.actor
    def handle(payload):
        note(current_frame().feed, payload)

    @dramatiq.actor(queue_name="failing", max_retries=20)
    def fail(payload):
        note("fail", payload)
        raise ValueError("no luck")
"""


def settings(url: str) -> str:
    tables = [f'[feeds.{name}]\nurl = "{url}{name}"\nactor = "handle"\n{keys}\n' for name, (_, keys, _) in FEEDS.items()]
    return '[workers]\nactors = ["actors"]\n' + "\n".join(tables)


def send_what_belongs_to_its_path(client: ScriptedConnection) -> None:
    client.send(*FEEDS[client.recording.path.removeprefix("/")][0])


def test_text_json_and_binary_frames_are_what_the_settings_say_in_the_queue_and_in_the_actor(
    project: Project, shared_valkey: Valkey
) -> None:
    project.write("actors.py", ACTORS)
    client = shared_valkey.client()
    expected = {name: payloads for name, (_, _, payloads) in FEEDS.items()}
    count = sum(map(len, expected.values()))
    with (
        ScriptedServer(send_what_belongs_to_its_path) as server,
        SupervisorProcess(project.folder, settings(server.url), shared_valkey.url) as supervisor,
    ):
        wait_until(lambda: client.llen("dramatiq:default") == count, 60, "all messages, in the queue of the default")
        messages = messages_in(client, "default")
        project.run("workers", REDIS_URL=shared_valkey.url)
        results = project.wait_for_results(count)
        assert supervisor.stop() == 0
    assert {message["queue_name"] for message in messages} == {"default"}
    assert {message["actor_name"] for message in messages} == {"handle"}
    for name, payloads in expected.items():
        queued = [message["args"] for message in messages if message["options"]["frame"]["feed"] == name]
        assert queued == [[payload] for payload in payloads]
        assert [payload for feed, payload in results if feed == name] == payloads


@pytest.mark.parametrize(
    ("keys", "frames", "said"),
    [
        (
            'binary = "utf-8"',
            [b"good", b"\xff\xfe"],
            "bytes cannot be encoded: binary = 'utf-8', but invalid start byte at byte 0",
        ),
        ('payload = "json"', ['"good"', "{no json"], "cannot be encoded: payload = "),
    ],
)
def test_a_frame_that_is_not_what_the_settings_say_is_a_recorded_drop_and_ends_the_connection(
    tmp_path: Path, shared_valkey: Valkey, keys: str, frames: list[str | bytes], said: str
) -> None:
    feeds = '[feeds.trades]\nurl = "{}"\nactor = "handle"\nqueue = "trades"\nretry = {{ initial = 0.05, max = 0.1 }}\n{}\n'
    client = shared_valkey.client()
    scripts = [lambda server: server.send(*frames), lambda server: server.send(frames[0])]
    with (
        ScriptedServer(*scripts) as server,
        SupervisorProcess(tmp_path, feeds.format(server.url, keys), shared_valkey.url) as supervisor,
    ):
        wait_until(lambda: client.llen("dramatiq:trades") == 2, 60, "the good frames of both connections")
        supervisor.wait_for_log('detail="unencodable: numbers 2 to 2"')
        assert supervisor.stop() == 0
    assert [message["args"] for message in messages_in(client)] == [["good"], ["good"]]
    assert [message["options"]["frame"]["seq"] for message in messages_in(client)] == [1, 3], "the drop has a number"
    (rejected,) = [line for line in supervisor.log.splitlines() if "message_rejected feed=trades seq=2 " in line]
    assert said in rejected


def test_options_are_dramatiqs_own_and_workers_obey_them(project: Project, shared_valkey: Valkey) -> None:
    project.write("actors.py", ACTORS)
    client: redis.Redis = shared_valkey.client()
    options = "options = { max_retries = 1, min_backoff = 1, max_backoff = 2, mine = [1, { a = true }] }"
    keys = f'actor = "fail"\nqueue = "failing"\n{options}\n'
    with (
        ScriptedServer(lambda server: server.send("luck")) as server,
        SupervisorProcess(
            project.folder, f'[workers]\nactors = ["actors"]\n[feeds.trades]\nurl = "{server.url}"\n{keys}', shared_valkey.url
        ) as supervisor,
    ):
        wait_until(lambda: client.llen("dramatiq:failing") == 1, 60, "the message")
        (message,) = messages_in(client, "failing")
        process = project.run("workers", REDIS_URL=shared_valkey.url)
        (dead,) = wait_until(lambda: client.hvals("dramatiq:failing.XQ.msgs"), 60, "the dead letter")
        assert supervisor.stop() == 0
    given = {name: value for name, value in message["options"].items() if name not in ("frame", "redis_message_id")}
    assert given == {"max_retries": 1, "min_backoff": 1, "max_backoff": 2, "mine": [1, {"a": True}]}
    assert project.results() == [["fail", "luck"]] * 2, process.log
    assert json.loads(dead)["options"]["retries"] == 1


def test_payloads_that_come_within_batch_timeout_share_a_message_which_then_leaves_by_itself(
    tmp_path: Path, shared_valkey: Valkey
) -> None:
    """The time of the message that is to be full is so long that it is never up here."""

    def script(server: ScriptedConnection) -> None:
        for text in "abcd" if server.recording.path == "/full" else "e":
            server.send(text)
            server.listen(0.02)

    client = shared_valkey.client()
    feeds = (
        '[feeds.{name}]\nurl = "{url}{name}"\nactor = "handle"\nqueue = "{name}"\nbatch = {{ size = 4, timeout = {timeout} }}\n'
    )
    with ScriptedServer(script) as server:
        text = "".join(
            feeds.format(name=name, url=server.url, timeout=timeout) for name, timeout in (("full", 10), ("timed", 0.2))
        )
        with SupervisorProcess(tmp_path, text, shared_valkey.url) as supervisor:
            wait_until(lambda: client.llen("dramatiq:full"), 60, "the message that is full")
            wait_until(lambda: client.llen("dramatiq:timed"), 60, "the one whose time is up")
            assert [recording.close_code for recording in server.recordings] == [None, None], "none left at an end"
            assert supervisor.stop() == 0
    (full,), (timed,) = messages_in(client, "full"), messages_in(client, "timed")
    assert (full["args"], timed["args"]) == ([["a", "b", "c", "d"]], [["e"]])
    assert [message["options"]["frame"]["count"] for message in (full, timed)] == [4, 1]
