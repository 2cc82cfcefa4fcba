"""``python -m ingest doctor`` over a real Valkey, and its arithmetic against real processes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from ingest.service.cli import app
from ingest.testing import ScriptedServer
from ingest.tools import doctor
from ingest.tools.doctor.plan import connection_plan, files_needed
from settings import load
from tests.support.command_line import run_command
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

FEED = '[feeds.{name}]\nurl = "{url}"\nactor = "handle"\nqueue = "{name}"\n'


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_valkey: Valkey) -> Any:
    """Call the command in this process, in a folder of its own; the findings by check."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", shared_valkey.url)
    monkeypatch.delenv("FEEDS_FILE", raising=False)
    monkeypatch.setattr(doctor, "PAUSE", 0.05)
    (tmp_path / "feeds.toml").write_text(FEED.format(name="trades", url="wss://stream.test/v1"))

    def call(*arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
        done = CliRunner().invoke(app, ["doctor", "--json", *arguments])
        return done.exit_code, {each["check"]: each for each in json.loads(done.stdout)["findings"]}

    return call


def test_a_server_with_nothing_wrong_ends_with_0(ask: Any) -> None:
    code, found = ask("--connections", "50")
    assert code == 0, found
    checks = {
        "version",
        "eviction",
        "persistence",
        "memory",
        "clocks",
        "consumers",
        "namespace",
        "connections",
        "tls",
        "shutdown",
        "files",
    }
    assert set(found) == checks
    assert not [each for each in found.values() if each["level"] == "problem"]


def test_problems_end_with_1_and_name_their_remedies(ask: Any, shared_valkey: Valkey, tmp_path: Path) -> None:
    client = shared_valkey.client()
    client.rpush("dramatiq:trades", "a", "b")
    client.zadd("shop:__heartbeats__", {"worker": int(time.time() * 1000)})
    (tmp_path / "Procfile").write_text("worker: dramatiq workers\n")

    code, found = ask("--grace", "20", "--connections", "5")

    assert code == 1
    assert {check for check, each in found.items() if each["level"] == "problem"} == {
        "consumers", "namespace", "shutdown", "connections"
    }  # fmt: skip
    assert found["consumers"]["remedy"] == "start the workers: dramatiq workers"
    assert "none in dramatiq" in found["namespace"]["what"]


def test_a_real_redis_that_evicts_and_has_no_room(ask: Any, make_valkey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make_valkey(maxmemory="20mb", maxmemory_policy="allkeys-lru", maxclients="15", save="")
    monkeypatch.setenv("REDIS_URL", server.url)
    code, found = ask()
    assert code == 1
    levels = {check: each["level"] for check, each in found.items()}
    assert {
        "eviction": "problem",
        "memory": "problem",
        "connections": "problem",
        "persistence": "warning",
    }.items() <= levels.items()
    assert "Redis takes 15" in found["connections"]["what"]


def test_without_redis_the_rest_is_looked_at(ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{tmp_path}/none.sock?password=hunter2")
    code, found = ask()
    assert code == 1
    assert set(found) == {"redis", "connections", "tls", "shutdown", "files"}
    assert "Redis is unreachable" in found["redis"]["what"]
    assert "hunter2" not in str(found)


def test_as_a_table_in_a_process(tmp_path: Path, shared_valkey: Valkey) -> None:
    done = run_command(
        tmp_path, "doctor", "--connections", "5", REDIS_URL=shared_valkey.url
    )  # no feeds file: REDIS_URL is enough
    assert (done.returncode, done.stderr) == (1, "")
    head, first, *rest = done.stdout.splitlines()
    assert head.split() == ["check", "what", "remedy"]
    assert first.split()[:2] == ["problem", "connections"]  # the worst come first
    assert rest[-1].split()[0] == "ok"


def test_bad_settings_end_with_2(tmp_path: Path, ask: Any) -> None:
    (tmp_path / "feeds.toml").write_text("[feeds.x]\n")
    done = CliRunner().invoke(app, ["doctor"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "feeds.x.url" in done.stderr


ACTORS = """
import dramatiq

@dramatiq.actor(queue_name="trades")
def handle(payload): pass

@dramatiq.actor(queue_name="book")
def other(payload): pass
"""


def test_the_formula_holds_for_real_processes(project: Any, make_valkey: Any) -> None:
    """A supervisor of three busy feeds with spools, and one worker process of two queues."""
    server_redis = make_valkey()
    client: redis.Redis = server_redis.client()
    folder: Path = project.folder
    project.write("mine.py", ACTORS)
    with ScriptedServer(busy) as server:
        names = ("trades", "book", "ticks")
        feeds = "".join(
            FEED.format(name=name, url=server.url) + f'gap_actor = "gap"\nspool = {{ directory = "{folder}" }}\n'
            for name in names
        )
        feeds = '[workers]\nactors = ["mine"]\n' + feeds
        (folder / "feeds.toml").write_text(feeds)
        settings = load(folder / "feeds.toml", {"REDIS_URL": server_redis.url})

        def connected() -> int:
            return len(client.client_list()) - 1  # ours

        with SupervisorProcess(folder, feeds, server_redis.url) as supervisor:
            highest, files = 0, 0

            def grown(what: int) -> bool:
                nonlocal highest, files
                highest = max(highest, connected())
                files = max(files, len(os.listdir(f"/proc/{supervisor.pid}/fd")))
                return all(client.llen(f"dramatiq:{name}") > what for name in names)

            wait_until(lambda: grown(2000), 60, "messages of every feed", interval=0.02)
            most = connection_plan(settings, 1, 0).a_supervisor
            assert most - 4 <= highest <= most, (highest, most)
            assert files <= files_needed(settings), (files, files_needed(settings))
            assert supervisor.stop() == 0
    wait_until(lambda: connected() == 0, 30, "the end of its connections")
    project.run("workers", REDIS_URL=server_redis.url, FEEDS_FILE=str(folder / "feeds.toml")).ready()
    most, highest = connection_plan(settings, 0, 1).a_worker, 0
    deadline = time.monotonic() + 30
    while client.llen("dramatiq:trades") and time.monotonic() < deadline:
        highest = max(highest, connected())
        time.sleep(0.02)
    wait_until(lambda: connected() >= 2, 10, "workers that listen")
    assert 2 <= max(highest, connected()) <= most, (highest, most)


def busy(client: Any) -> None:
    while True:
        client.send(*("x" * 100 for _ in range(50)))
        client.listen(0.005)
