"""``python -m ingest gaps`` as a process, over records in a real Valkey."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.broker.gaps import write_gap
from ingest.broker.keys import Keys
from tests.support.command_line import run_command
from tests.support.gaps import make_record
from tests.support.redis_server import Valkey
from tests.support.settings_files import FEED

FEEDS = FEED + FEED.replace("trades", "book") + '[supervisor]\ngroup = "blue"\n[broker]\nnamespace = "shop"\n'


@pytest.fixture
def project(tmp_path: Path, shared_valkey: Valkey) -> Path:
    (tmp_path / "feeds.toml").write_text(FEEDS)
    client = shared_valkey.client()
    for number, feed, group in ((2, "book", "blue"), (1, "trades", "blue"), (3, "trades", "green")):
        write_gap(client, Keys("shop"), group, make_record(number, feed=feed, detail=f"number {number}"))
    return tmp_path


def test_lists_the_gaps_of_all_feeds_the_newest_last(project: Path, shared_valkey: Valkey) -> None:
    done = run_command(project, "gaps", REDIS_URL=shared_valkey.url)
    assert (done.returncode, done.stderr) == (0, "")
    _, *rows = done.stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["trades", "book"]


def test_of_one_feed_as_json(project: Path, shared_valkey: Valkey) -> None:
    done = run_command(project, "gaps", "--feed", "book", "--json", REDIS_URL=shared_valkey.url)
    assert (done.returncode, done.stderr) == (0, "")
    [gap] = [json.loads(line) for line in done.stdout.splitlines()]
    assert (gap["feed"], gap["last_seq"], gap["detail"]) == ("book", 2, "number 2")


def test_since_leaves_out_what_ended_before(project: Path, shared_valkey: Valkey) -> None:
    write_gap(shared_valkey.client(), Keys("shop"), "blue", make_record(0, to_us=make_record(3600).to_us))
    done = run_command(project, "gaps", "--json", "--since", "2026-09-21T15:00:00", REDIS_URL=shared_valkey.url)
    assert [json.loads(line)["last_seq"] for line in done.stdout.splitlines()] == [0]


def test_without_gaps_it_says_so(tmp_path: Path, shared_valkey: Valkey) -> None:
    (tmp_path / "feeds.toml").write_text(FEEDS)
    assert run_command(tmp_path, "gaps", REDIS_URL=shared_valkey.url).stdout == "no gaps\n"
    assert run_command(tmp_path, "gaps", "--json", REDIS_URL=shared_valkey.url).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--feed", "bok"), "--feed bok: there is no such feed; did you mean book?"),
        (("--since", "soon"), "neither seconds nor a time"),
    ],
)
def test_bad_usage(project: Path, shared_valkey: Valkey, arguments: tuple[str, ...], says: str) -> None:
    done = run_command(project, "gaps", *arguments, REDIS_URL=shared_valkey.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in " ".join(done.stderr.split())


def test_without_redis_it_ends_with_2_and_a_sentence(project: Path, tmp_path: Path) -> None:
    done = run_command(project, "gaps", REDIS_URL=f"unix://{tmp_path}/none.sock?password=hunter2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "broker.url: Redis is unreachable" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
