"""Feeds that are paused and resumed through the command line, while real supervisors run them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ingest.broker.control import Control
from ingest.broker.gaps import read_gaps
from ingest.broker.keys import Keys
from ingest.broker.status import read_statuses
from ingest.testing import ScriptedServer
from tests.support.command_line import run_command
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess, payloads_in
from tests.support.waiting import wait_until

KEYS = Keys("dramatiq")


def feeds(url: str, name: str = "trades", queue: str = "trades") -> str:
    keys = f'url = "{url}"\nactor = "handle"\nqueue = "{queue}"\nretry = {{ initial = 0.05, max = 0.1 }}'
    return f"[feeds.{name}]\n{keys}\n"


def counting(name: str) -> Any:
    """Return a script that sends ``name:0``, ``name:1``, … until the client leaves."""

    def script(client: Any) -> None:
        number = 0
        while True:
            client.send(*(f"{name}:{at}" for at in range(number, number + 10)))
            client.listen(0.03)  # so slowly that the queue is not full before a busy machine is through
            number += 10

    return script


def states(client: Any, feed: str = "trades") -> list[str]:
    return [status["feeds"][feed]["state"] for status in read_statuses(client, "dramatiq") if not status["final"]]


def test_a_paused_feed_closes_hands_over_and_reconnects_when_it_is_resumed(tmp_path: Path, shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    with ScriptedServer(counting("0"), counting("1")) as server, ScriptedServer(counting("b")) as other:
        settings = feeds(server.url) + feeds(other.url, "book", "book")
        with SupervisorProcess(tmp_path, settings, shared_valkey.url) as supervisor:
            wait_until(lambda: client.llen("dramatiq:trades") > 50 and states(client) == ["READY"], 60, "messages and a status")

            done = run_command(tmp_path, "pause", "trades", REDIS_URL=shared_valkey.url)

            assert (done.returncode, done.stderr) == (0, "")
            first, second = done.stdout.splitlines()
            assert first == "trades: paused"
            if second.endswith("has not obeyed yet"):  # the command waits for some seconds only: on a busy machine once more
                wait_until(lambda: states(client) == ["PAUSED"], 60, "a paused feed")
                second = run_command(tmp_path, "pause", "trades", REDIS_URL=shared_valkey.url).stdout.splitlines()[1]
            assert second.endswith(f":{supervisor.pid} shows PAUSED")
            wait_until(lambda: server.recordings[0].close_code is not None, 60, "the close of the connection")
            assert server.recordings[0].close_code == 1001
            wait_until(lambda: states(client, "book") == ["READY"], 60, "the other feed, which goes on")
            assert client.hget("dramatiq:__feed__..trades", "leader") != b""  # the lead stays
            depth = client.llen("dramatiq:trades")
            read = int(supervisor_status(client)["trades"]["frames"])
            wait_until(lambda: client.llen("dramatiq:trades") == read, 60, f"all that was read ({read}, {depth})")
            assert len(server.recordings) == 1

            done = run_command(tmp_path, "resume", "trades", REDIS_URL=shared_valkey.url)

            assert "trades: resumed" in done.stdout
            wait_until(lambda: states(client) == ["READY"], 60, "the next connection")
            wait_until(lambda: client.llen("dramatiq:trades") > read, 60, "more messages")
            assert supervisor.stop() == 0
        arrived = payloads_in(client)
        assert arrived[:read] == [f"0:{at}" for at in range(read)]
        assert arrived[read] == "1:0"
    [gap] = [gap for gap in read_gaps(client, KEYS, "", ["trades"]) if gap.cause == "paused"]
    assert gap.last_seq == read
    assert 0 < gap.to_us - gap.from_us < 60_000_000
    assert supervisor.told("feed_paused feed=trades by=") == supervisor.told("feed_resumed feed=trades") == 1


def supervisor_status(client: Any) -> dict[str, Any]:
    [status] = [status for status in read_statuses(client, "dramatiq") if not status["final"]]
    return status["feeds"]


def test_a_pause_survives_restarts_and_a_standby_obeys_it_too(tmp_path: Path, shared_valkey: Valkey) -> None:
    client = shared_valkey.client()
    Control(client, KEYS, "").pause("trades", "ann")
    (tmp_path / "second").mkdir()
    with ScriptedServer(counting("0")) as server, SupervisorProcess(tmp_path, feeds(server.url), shared_valkey.url) as first:
        wait_until(lambda: states(client) == ["PAUSED"], 60, "a paused feed")
        wait_until(lambda: client.hget("dramatiq:__feed__..trades", "leader"), 60, "a leader")
        with SupervisorProcess(tmp_path / "second", feeds(server.url), shared_valkey.url) as second:
            wait_until(lambda: states(client) == ["PAUSED"] * 2, 60, "a paused standby")
            assert first.stop() == 0
            second.wait_for_log("lease_taken")
            wait_until(lambda: states(client) == ["PAUSED"], 60, "a leader that is paused")
            assert server.recordings == []
            Control(client, KEYS, "").resume("trades")
            wait_until(lambda: states(client) == ["READY"], 60, "a connection")
            assert second.stop() == 0
    wait_until(lambda: len(read_gaps(client, KEYS, "", ["trades"])) >= 3, 60, "gaps")
    assert [gap.cause for gap in read_gaps(client, KEYS, "", ["trades"])] == ["paused", "failover", "paused"]


def test_redis_that_goes_away_meanwhile_leaves_it_paused(tmp_path: Path, make_valkey: Any) -> None:
    server_redis = make_valkey(appendonly="yes", appendfsync="always")
    client = server_redis.client()
    with ScriptedServer(counting("0")) as server, SupervisorProcess(tmp_path, feeds(server.url), server_redis.url) as supervisor:
        wait_until(lambda: client.llen("dramatiq:trades") > 10 and states(client) == ["READY"], 60, "messages and a status")
        run_command(tmp_path, "pause", "trades", REDIS_URL=server_redis.url)
        wait_until(lambda: states(client) == ["PAUSED"], 60, "a paused feed")
        server_redis.kill()
        server_redis.start()
        client = server_redis.client()
        before = time.time()
        wait_until(lambda: any(status["at"] > before for status in read_statuses(client, "dramatiq")), 60, "a new status")
        assert states(client) == ["PAUSED"]
        assert len(server.recordings) == 1
        assert supervisor.stop() == 0


def test_resume_and_pause_say_what_was_so_already(tmp_path: Path, shared_valkey: Valkey) -> None:
    (tmp_path / "feeds.toml").write_text(feeds("ws://127.0.0.1:9/"))
    Control(shared_valkey.client(), KEYS, "").pause("trades", "ann@desk")
    done = run_command(tmp_path, "pause", "trades", REDIS_URL=shared_valkey.url)
    first, second = done.stdout.splitlines()
    assert first.startswith("trades: was paused before since 20")
    assert first.endswith(" UTC by ann@desk")
    assert second == "trades: no supervisor runs it now; the order holds for those that will"
    assert run_command(tmp_path, "resume", "trades", REDIS_URL=shared_valkey.url).stdout.startswith("trades: resumed\n")
    assert run_command(tmp_path, "resume", "trades", REDIS_URL=shared_valkey.url).stdout.startswith("trades: was not paused\n")


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_an_unknown_feed_is_told_with_the_nearest_and_nothing_is_changed(
    tmp_path: Path, shared_valkey: Valkey, command: str
) -> None:
    (tmp_path / "feeds.toml").write_text(feeds("ws://127.0.0.1:9/") + feeds("ws://127.0.0.1:9/", "book"))
    done = run_command(tmp_path, command, "trades", "bok", REDIS_URL=shared_valkey.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "bok: there is no such feed; did you mean book?" in done.stderr
    assert not shared_valkey.client().exists("dramatiq:__paused__.")
    assert json.dumps(done.stderr).count("Traceback") == 0


def test_without_redis_it_ends_with_2_and_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "feeds.toml").write_text(feeds("ws://127.0.0.1:9/"))
    done = run_command(tmp_path, "pause", "trades", REDIS_URL=f"unix://{tmp_path}/none.sock")
    assert (done.returncode, done.stdout) == (2, "")
    assert "broker.url: Redis is unreachable" in done.stderr
