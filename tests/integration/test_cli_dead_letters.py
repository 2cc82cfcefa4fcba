"""``python -m ingest dead-letters`` over dead letters in a real Valkey; as a process where that matters."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ingest.service.cli import app
from tests.support.command_line import ROOT, run_command
from tests.support.dead_letters import bury, dead_message, waiting
from tests.support.redis_server import Valkey
from tests.support.settings_files import FEED
from tests.support.waiting import wait_until


@pytest.fixture
def project(tmp_path: Path, shared_valkey: Valkey) -> Path:
    """Five dead letters, of two queues; the namespace is in the file."""
    (tmp_path / "feeds.toml").write_text(FEED + '[broker]\nnamespace = "shop"\n[queues.trades]\nhigh_watermark = 5\n')
    now = time.time()
    messages = [(now - 1000 * number, dead_message(number)) for number in (4, 3, 2)]
    messages.append((now - 10, dead_message(1, error="shop.Full: wss://x.test/?token=hunter2\x1b[31m")))
    messages.append((now - 5, dead_message(5, "book", actor_name="other")))
    bury(shared_valkey.client(), messages, "shop")
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_valkey: Valkey) -> Callable[..., Any]:
    """Call the command in this process, in the project's folder; with an interpreter of its own each call takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", shared_valkey.url)
    monkeypatch.delenv("FEEDS_FILE", raising=False)
    return lambda *arguments: CliRunner().invoke(app, ["dead-letters", *arguments])


def test_lists_them_the_oldest_first_with_their_causes(project: Path, shared_valkey: Valkey, run: Any) -> None:
    done = run("list", "--queue", "trades")
    assert (done.exit_code, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert [row.split()[-1] for row in rows] == ["dead-000004", "dead-000003", "dead-000002", "dead-000001"]
    assert "ValueError: no" in rows[0]
    assert "hunter2" not in done.stdout
    assert "\x1b" not in done.stdout
    assert head.split()[0] == "died"


def test_lists_as_json_what_a_filter_takes(project: Path, shared_valkey: Valkey, run: Any) -> None:
    done = run("list", "--json", "--older-than", "45m", "--newer-than", "1d", "--exception", "valueerror")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["id"], each["feed"], each["seq"], each["retries"]) for each in told] == [
        ("dead-000004", "trades", 4, 3),
        ("dead-000003", "trades", 3, 3),
    ]
    assert 3990 < told[0]["age"] < 4100


def test_a_limit_says_how_many_there_are(project: Path, shared_valkey: Valkey, run: Any) -> None:
    assert "the first 2, of 5; --limit shows more" in run("list", "--limit", "2").stdout


def test_shows_one_by_either_id(project: Path, shared_valkey: Valkey, run: Any) -> None:
    done = run("show", "message-2")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "payload 2" in done.stdout
    assert 'File "/app/actors.py", line 7, in handle' in done.stdout
    told = json.loads(run("show", "dead-000002", "--json").stdout)
    assert (told["args"], told["options"]["frame"]["seq"]) == (["payload 2"], 2)
    assert told["traceback"].endswith("ValueError: no\n")


def test_a_dry_run_changes_nothing_and_retry_does_what_it_said(project: Path, shared_valkey: Valkey, run: Any) -> None:
    client = shared_valkey.client()
    arguments = ("retry", "--queue", "trades", "--exception", "ValueError")
    assert run(*arguments, "--dry-run").stdout == "would retry 3 dead letters\n"
    assert client.zcard("shop:trades.XQ") == 4
    done = run(*arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "retried 3 dead letters\n", "")
    assert [message["args"][0] for message in waiting(client, namespace="shop")] == ["payload 4", "payload 3", "payload 2"]
    assert client.zrange("shop:trades.XQ", 0, -1) == [b"dead-000001"]


def test_retries_those_that_are_named_and_says_which_are_gone(project: Path, shared_valkey: Valkey, run: Any) -> None:
    done = run("retry", "dead-000003", "message-5", "--json")
    told = json.loads(done.stdout)
    assert told == {"what": "retried", "count": 2, "skipped": 0, "queues": {"trades": 1, "book": 1}}
    again = run("retry", "dead-000003")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "there is no dead letter dead-000003" in " ".join(again.stderr.split())


def test_retry_waits_while_the_queue_is_full(project: Path, shared_valkey: Valkey, run: Any) -> None:
    client = shared_valkey.client()
    client.rpush("shop:trades", *range(5))

    def looks() -> int:
        return int(client.info("commandstats").get("cmdstat_llen", {}).get("calls", 0))

    before = looks()  # the server has served other tests
    with subprocess.Popen(
        [sys.executable, "-m", "ingest", "dead-letters", "retry", "--queue", "trades"],
        cwd=project,
        env={"PYTHONPATH": str(ROOT), "REDIS_URL": shared_valkey.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            wait_until(lambda: looks() > before + 3, 60, "looks at the depth")
            assert client.zcard("shop:trades.XQ") == 4
            client.delete("shop:trades")
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert out == b"retried 4 dead letters\n"
    assert err == b"retrying: waiting, 5 messages in queue trades (high_watermark 5)\n"  # once, however long it waits
    assert run("retry", "--at-once").stdout == "retried 1 dead letters\n"


def test_purge_asks_first(project: Path, shared_valkey: Valkey, run: Any) -> None:
    client = shared_valkey.client()
    assert run("purge", "--dry-run").stdout == "would delete 5 dead letters\n"
    refused = run("purge", "--queue", "trades")  # nobody answers
    assert refused.exit_code == 1
    assert "delete 4 dead letters for good (4 of queue trades)?" in refused.stderr
    assert client.zcard("shop:trades.XQ") == 4
    done = run("purge", "--older-than", "30m", "--yes")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "deleted 3 dead letters\n", "")
    assert client.hkeys("shop:trades.XQ.msgs") == [b"dead-000001"]
    assert run("purge", "--actor", "nobody").stdout == "deleted 0 dead letters\n"


def test_without_a_settings_file_it_takes_redis_url_and_dramatiqs_namespace(
    tmp_path: Path, shared_valkey: Valkey, run: Any
) -> None:
    bury(shared_valkey.client(), [(time.time(), dead_message(1))])
    assert "dead-000001" in run("list").stdout
    assert run("purge", "--yes").stdout == "deleted 1 dead letters\n"
    assert run("list").stdout == "no dead letters\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("list", "--older-than", "soon"), "is no age"),
        (("list", "--newer-than", "-3"), "is no age"),
        (("show", "nothing"), "there is no dead letter nothing"),
        (("retry", "dead-000001", "--actor", "handle"), "name some, or filter"),
    ],
)
def test_bad_usage(project: Path, run: Any, arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in " ".join(done.stderr.split())


@pytest.mark.parametrize("command", [("list",), ("list", "--json"), ("retry",), ("retry", "--dry-run"), ("purge", "--yes")])
def test_a_feed_that_is_none_names_the_nearest(project: Path, run: Any, command: tuple[str, ...]) -> None:
    done = run(*command, "--feed", "tradse")
    assert done.exit_code == 2
    assert "there is no such feed, and no dead letter of one; did you mean trades?" in " ".join(done.stderr.split())
    assert run(*command, "--feed", "trades", "--newer-than", "0s").exit_code == 0


def test_a_queue_that_the_settings_do_not_have_names_the_nearest_and_may_be_anothers(project: Path, run: Any) -> None:
    done = run("list", "--queue", "tradse")
    assert (done.exit_code, done.stdout) == (0, "no dead letters\n")
    assert done.stderr == "the settings have no queue tradse; did you mean trades?\n"
    assert run("list", "--queue", "book").stderr == ""  # has some, though no settings


@pytest.mark.parametrize("command", ["list", "retry", "purge"])
def test_without_redis_it_ends_with_2_and_a_sentence(project: Path, run: Any, monkeypatch: Any, command: str) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{project}/none.sock?password=hunter2")
    done = run(command)
    assert (done.exit_code, done.stdout.strip()) in {(2, ""), (2, "retried 0 dead letters")}
    assert "broker.url: Redis is unreachable" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_redis_url_that_is_none_is_told_without_what_is_in_it(tmp_path: Path, run: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("REDIS_URL", "http://hunter2@x")
    done = run("list")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "broker.url: must start with redis://" in done.stderr
    assert "hunter2" not in done.stderr


def test_as_a_process(project: Path, shared_valkey: Valkey) -> None:
    """With the encoder that a module of ``[broker] middleware`` sets, and without a traceback."""
    (project / "mine.py").write_text(
        "import dramatiq\nfrom dramatiq.encoder import PickleEncoder\ndramatiq.set_encoder(PickleEncoder())\nmiddleware = []\n"
    )
    text = (
        (project / "feeds.toml").read_text().replace('namespace = "shop"', 'namespace = "shop"\nmiddleware = ["mine:middleware"]')
    )
    (project / "feeds.toml").write_text(text)
    done = run_command(project, "dead-letters", "list", "--queue", "book", REDIS_URL=shared_valkey.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "it is no message of the encoder in use" in done.stdout  # they are JSON
    done = run_command(project, "dead-letters", "show", "x", REDIS_URL=shared_valkey.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
