"""``python -m ingest status`` as a process: a real supervisor's state, and everything that can be wrong on the way."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
import redis

from ingest.broker.history import read_history
from ingest.broker.keys import Keys
from ingest.broker.status import publish_status, read_statuses
from ingest.testing import ScriptedConnection, ScriptedServer
from tests.support.command_line import run_command
from tests.support.fault_feeds import feeds_toml
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.redis_server import Valkey
from tests.support.settings_files import FEED
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

#: No deadline that a busy machine could miss: the feed is to be connected once.
PATIENT = "open_timeout = 60\nping_interval = 0\n"


def states(client: redis.Redis) -> dict[str, str]:
    """Return the state of every feed, as the supervisor has told Redis."""
    return {name: feed["state"] for status in read_statuses(client, "dramatiq") for name, feed in status["feeds"].items()}


def refuse(client: ScriptedConnection) -> None:
    client.refuse(403)


def test_it_says_that_all_is_well_then_what_is_wrong_then_that_nobody_runs(tmp_path: Path, valkey: Valkey) -> None:
    # So few that the queue, which nobody empties, does not grow until that is worth a warning.
    with numbered_server(NumberedStream(200, limit=150)) as good, ScriptedServer(refuse) as bad:
        feeds = feeds_toml(good.url, "trades", extra=PATIENT) + feeds_toml(
            bad.url, "book", extra=PATIENT + 'fatal_statuses = [403]\nqueue = "book"', top=""
        )
        client = valkey.client()
        with SupervisorProcess(tmp_path, feeds, valkey.url) as supervisor:
            supervisor.wait_for_log("feed_gave_up")
            supervisor.wait_for_log("connection_ready")
            wait_until(lambda: client.llen("dramatiq:trades") > 100, 60, "messages in the queue")
            wait_until(lambda: states(client) == {"trades": "READY", "book": "FAILED"}, 30, "both to be told in Redis")

            well = run_command(tmp_path, "status", "--feed", "trades", REDIS_URL=valkey.url)
            assert (well.returncode, well.stderr) == (0, "")
            assert well.stdout.startswith("all well: 1 feed, 1 supervisor, 0 worker processes\n")
            assert " READY " in well.stdout

            failed = run_command(tmp_path, "status", REDIS_URL=valkey.url)
            assert failed.returncode == 1
            assert failed.stdout.startswith("book: FAILED (the server answered the upgrade with status 403) on ")
            assert f":{supervisor.pid}: check the token; python -m ingest check --connect" in failed.stdout.splitlines()[0]

            supervisor.signal(signal.SIGTERM)
            supervisor.wait()

    ended = run_command(tmp_path, "status", "--json", REDIS_URL=valkey.url)
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["ok"]) == (1, False)
    assert "supervisor: none runs; " in told["headline"]
    assert told["headline"].endswith(": start it with python -m ingest run")

    history = read_history(valkey.client(), Keys("dramatiq"), [("", "trades"), ("", "book")])
    assert [each.what for each in history["", "trades"].happenings] == ["leads", "ready", "lost"]
    assert "gave up" in [each.what for each in history["", "book"].happenings]
    assert {each.where.rpartition(":")[2] for each in history["", "book"].happenings} == {str(supervisor.pid)}


def test_without_a_file_it_needs_redis_url_alone_and_says_what_to_start(tmp_path: Path, shared_valkey: Valkey) -> None:
    done = run_command(tmp_path, "status", REDIS_URL=shared_valkey.url)

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "supervisor: none runs, or none on this Redis and in this namespace: start it with python -m ingest run\n"
    )


def test_feeds_of_the_file_that_nobody_runs_are_shown_too(tmp_path: Path, shared_valkey: Valkey) -> None:
    (tmp_path / "feeds.toml").write_text(FEED)
    publish_status(shared_valkey.client(), "dramatiq", "supervisor", "a:1:x", {"feeds": {}, "group": ""}, final=True)

    done = run_command(tmp_path, "status", "--feed", "trades", REDIS_URL=shared_valkey.url)

    assert done.returncode == 1
    assert re.match(r"supervisor: none runs; a:1 was stopped \d+ s ago: start it with python -m ingest run\n", done.stdout)
    assert "ABSENT" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("status", "--feed", "trads"), "--feed trads: there is no such feed; did you mean trades?"),
        (("status", "--feeds", "none.toml"), "none.toml: there is no such file"),
        (("top", "--feeds", "none.toml"), "none.toml: there is no such file"),
    ],
)
def test_bad_usage(tmp_path: Path, shared_valkey: Valkey, arguments: tuple[str, ...], says: str) -> None:
    client = shared_valkey.client()
    publish_status(client, "dramatiq", "supervisor", "a:1:x", {"feeds": {"trades": {}}}, final=True)

    done = run_command(tmp_path, *arguments, REDIS_URL=shared_valkey.url)

    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_redis_that_is_not_there_and_one_that_refuses_the_password(tmp_path: Path, valkey: Valkey) -> None:
    away = run_command(tmp_path, "status", REDIS_URL=f"unix://{tmp_path}/none.sock?password=hunter2hunter2")
    valkey.client().config_set("requirepass", "right")
    refused = run_command(tmp_path, "status", REDIS_URL=f"{valkey.url}?password=wrongwrong")

    assert (away.returncode, away.stdout, refused.returncode, refused.stdout) == (2, "", 2, "")
    assert away.stderr.startswith(f"unix://{tmp_path}/none.sock: Redis is unreachable: ")
    assert away.stderr.endswith("; check that it runs, and the [broker] url of the feeds file, or REDIS_URL\n")
    assert "hunter2" not in away.stderr
    assert refused.stderr == (
        f"{valkey.url}: Redis refused the user or password (WRONGPASS); "
        "check user and password in the [broker] url of the feeds file, or REDIS_URL\n"
    )


@pytest.mark.parametrize("command", ["status", "run", "doctor"])
def test_a_redis_url_that_asks_for_tls_options_without_tls_is_told_and_no_traceback(tmp_path: Path, command: str) -> None:
    (tmp_path / "feeds.toml").write_text(FEED)
    done = run_command(tmp_path, command, REDIS_URL="redis://:hunter2@127.0.0.1:1/0?ssl_cert_reqs=none")
    assert done.returncode == (1 if command == "doctor" else 2)
    assert "asks for ssl_cert_reqs, but not for TLS" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
