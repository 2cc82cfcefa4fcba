"""`record` as a process: what is in the file, however it ends; and what it says of what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.records.connections import survey
from ingest.records.format import CLOSE, TEXT, EmittedEntry, EventEntry, FrameEntry
from ingest.testing import ScriptedConnection, ScriptedServer
from tests.support.command_line import run_command
from tests.support.records import Command, read_record
from tests.support.waiting import wait_until

SESSION = """
from ingest import Emit, Fail, Session, Skip
import json

class Trades(Session):
    awaits_ready = True

    def headers(self):
        return {"Authorization": "Bearer header-t0ken"}

    def on_upgrade(self):
        return [json.dumps({"op": "subscribe", "token": self.feed.session_args["token"]}), b"\\x00bin"]

    def setup(self, token):
        pass

    def on_frame(self, payload):
        message = json.loads(payload)
        if "ready" in message:
            return Skip(ready=True, reply=["thanks"])
        return Emit({"n": message["n"]}, ack=[f"ack {message['n']}"])
"""


def feed_file(folder: Path, url: str, extra: str = "") -> None:
    (folder / "feeds.toml").write_text(
        f'[feeds.trades]\nurl = "{url}"\nactor = "handle"\nretry = {{ initial = 0.05, max = 0.1 }}\n{extra}\n'
    )


def numbers(client: ScriptedConnection, first: int, last: int) -> None:
    client.send(*[{"n": number} for number in range(first, last + 1)])


def test_both_directions_events_and_payloads_are_kept_and_secrets_are_not(tmp_path: Path) -> None:
    (tmp_path / "my_session.py").write_text(SESSION)

    def first(client: ScriptedConnection) -> None:
        assert client.recording.headers["authorization"] == "Bearer header-t0ken"
        client.expect({"op": "subscribe", "token": "s3cret-of-env"})
        client.expect(b"\x00bin")
        client.send({"ready": "s3cret-of-env header-t0ken"})
        client.expect("thanks")
        numbers(client, 1, 3)
        for number in (1, 2, 3):  # they leave once what they acknowledge is in the file
            client.expect(f"ack {number}")
        client.close(1012, "restarting")

    def second(client: ScriptedConnection) -> None:
        client.expect()
        client.expect()
        client.ping(b"alive")
        client.expect_pong(b"alive")
        client.send({"ready": 1})
        numbers(client, 4, 9)
        client.listen(30)

    with ScriptedServer(first, second, timeout=60) as server:
        feed_file(tmp_path, server.url, 'session = "my_session:Trades"\nsession_args = { token = "${TOKEN}" }')
        done = run_command(tmp_path, "record", "trades", "-o", "t.rec", "--frames", "10", TOKEN="s3cret-of-env")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("recorded trades: 10 frames received, ")
    assert ", 8 payloads, 2 connections in " in done.stdout

    entries, problem = read_record(tmp_path / "t.rec")
    assert problem is None
    everything = b"".join(each.payload for each in entries if isinstance(each, FrameEntry)).decode("utf-8", "replace")
    everything += json.dumps([dict(each.fields) for each in entries if isinstance(each, EventEntry)])
    assert "***" in everything
    for secret in ("s3cret-of-env", "header-t0ken", "Authorization"):
        assert secret not in everything
    assert [value for each in entries if isinstance(each, EmittedEntry) for value in each.payloads] == [
        {"n": number} for number in range(1, 9)
    ]
    sent = [each.message for each in entries if isinstance(each, FrameEntry) and each.outbound and each.is_data]
    assert sent[:3] == ['{"op": "subscribe", "token": "***"}', b"\x00bin", "thanks"]
    assert [each.name for each in entries if isinstance(each, EventEntry)] == [
        *("connecting", "upgraded", "subscribed", "ready", "lost", "retry_scheduled"),
        *("connecting", "upgraded", "subscribed", "ready", "lost"),
    ]
    found = survey(entries).connections
    assert [(each.received, each.ended_by) for each in found] == [(4, "ClosedByServer"), (6, "Stopped")]
    [close] = [each for each in entries if isinstance(each, FrameEntry) and each.opcode == CLOSE and not each.outbound]
    assert close.payload == (1012).to_bytes(2, "big") + b"restarting"
    times = [each.at_us for each in entries]
    assert times == sorted(times)


def texts_in(path: Path) -> int:
    """Return how many text frames are in a record that is being written."""
    if not path.exists() or path.stat().st_size == 0:
        return 0
    return sum(isinstance(each, FrameEntry) and each.opcode == TEXT for each in read_record(path)[0])


def test_a_killed_recording_is_readable_to_the_last_whole_entry(tmp_path: Path) -> None:
    def slowly(client: ScriptedConnection) -> None:
        numbers(client, 1, 500)
        client.listen(30)

    with ScriptedServer(slowly) as server:
        feed_file(tmp_path, server.url)
        with Command(tmp_path, "record", "trades") as command:
            path = tmp_path / "trades.rec.zst"
            wait_until(lambda: texts_in(path) == 500, 60, "500 frames in the file")
            command.process.kill()
            command.process.wait()
    entries, problem = read_record(path)
    assert problem == "the record was cut short: it has no end"
    assert survey(entries).received == 500


def test_ctrl_c_ends_it_in_order(tmp_path: Path) -> None:
    with ScriptedServer(lambda client: numbers(client, 1, 5)) as server:
        feed_file(tmp_path, server.url)
        with Command(tmp_path, "record", "trades") as command:
            wait_until(lambda: texts_in(tmp_path / "trades.rec.zst") == 5, 60, "5 frames in the file")
            command.interrupt()
            assert command.wait() == 0
            assert "recorded trades: 5 frames received, 0 sent, 5 payloads, 1 connections in " in command.out
            assert "connection_ready" in command.err
        wait_until(lambda: server.recordings[0].close_code is not None, 60, "the close of the connection")
        assert server.recordings[0].close_code == 1001
    assert read_record(tmp_path / "trades.rec.zst")[1] is None


def test_seconds_end_it_and_a_feed_that_gives_up_is_said(tmp_path: Path) -> None:
    with ScriptedServer(lambda client: numbers(client, 1, 5)) as server:
        feed_file(tmp_path, server.url)
        assert run_command(tmp_path, "record", "trades", "-o", "a", "--seconds", "0.5").returncode == 0
    with ScriptedServer(lambda client: client.refuse(404)) as server:
        feed_file(tmp_path, server.url)
        done = run_command(tmp_path, "record", "trades", "-o", "b")
    assert done.returncode == 1
    assert done.stderr.endswith("the feed gave up: the server answered the upgrade with status 404\n")
    entries, problem = read_record(tmp_path / "b")
    assert (problem, survey(entries).connections[0].status) == (None, 404)


def test_a_full_disk_ends_it_with_a_sentence_and_a_readable_file(tmp_path: Path) -> None:
    def noise(client: ScriptedConnection) -> None:
        number = 0
        while True:
            client.send(*[f"{number} {hash((number, at)):x}" * 20 for at in range(50)])
            client.listen(0)
            number += 1

    with ScriptedServer(noise) as server:
        feed_file(tmp_path, server.url)
        with Command(tmp_path, "record", "trades", limit_bytes=64 * 1024) as command:
            assert command.wait() == 1
            assert command.err.endswith("trades.rec.zst cannot be written: File too large; what it holds can be replayed\n")
            assert "Traceback" not in command.err
    entries, problem = read_record(tmp_path / "trades.rec.zst")
    assert problem is not None
    assert survey(entries).received > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trade"], "FEED trade: there is no such feed; did you mean trades?"),
        (["trades", "-o", "there"], "there is there already: name another file with -o, or remove it"),
        (["trades", "-o", "no/where"], "no/where cannot be written: No such file or directory"),
        (["trades", "-o", "."], ". is there already: name another file with -o, or remove it"),
        (["trades", "--seconds", "0"], "--seconds is 0; it must be more than 0"),
        (["trades", "--seconds", "nan"], "--seconds is nan; it must be more than 0"),
        (["trades", "--frames", "-1"], "--frames is -1; it must be more than 0"),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], said: str) -> None:
    feed_file(tmp_path, "ws://127.0.0.1:1/")
    (tmp_path / "there").touch()
    done = run_command(tmp_path, "record", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "trades.rec.zst").exists()


def test_without_zstandard(tmp_path: Path) -> None:
    feed_file(tmp_path, "ws://127.0.0.1:1/")
    without = "import sys; sys.modules['zstandard'] = None; from ingest.service.cli import main; main()"
    for arguments in (["record", "trades"], ["replay", "x"]):
        done = run_command(tmp_path, *arguments, program=("-c", without))
        assert done.returncode == 2
        assert done.stderr == "the package zstandard is not installed: pip install zstandard\n"
