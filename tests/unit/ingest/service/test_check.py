"""What ``check`` finds and prints; the connections it tries are in tests/integration/test_cli_connect.py."""

from __future__ import annotations

import io
from collections.abc import Iterator

import dramatiq
import pytest
from rich.console import Console

from ingest.service.check import check, make_console, show
from settings import SettingsError
from tests.support.settings_files import FEED, load_text
from tests.support.user_code import WriteModule


@pytest.fixture(autouse=True)
def _broker_of_the_process() -> Iterator[None]:
    before = dramatiq.broker.global_broker
    yield
    dramatiq.broker.global_broker = before


def shown(settings) -> list[str]:
    out = io.StringIO()
    show(settings, make_console(out))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_a_narrow_terminal_shows_all_of_a_url(tmp_path):
    out = io.StringIO()
    show(load_text(tmp_path, FEED.replace("/v1", f"/{'x' * 90}")), Console(file=out, width=60))
    assert "…" not in out.getvalue()
    assert out.getvalue().count("x") == 90


def problems(tmp_path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        check(load_text(tmp_path, text))
    return str(caught.value).splitlines()


def test_what_will_run_is_shown_with_secrets_masked(tmp_path):
    text = (
        '[broker]\nurl = "redis://:hunter2@h:6379/0"\nnamespace = "app"\n'
        "[queues.trades]\nhigh_watermark = 50\nrate_limit = 5000\n"
        '[feeds.trades]\nurl = "wss://h.test/${KEY}?token=hunter2"\nsession = "app:Feed"\nactor = "handle"\nqueue = "trades"\n'
        'session_args = { secret = "hunter2" }\nheaders = { Authorization = "hunter2" }\ntls.verify = false\nretry.max = 60\n'
    )
    lines = shown(load_text(tmp_path, text, {"KEY": "hunter2"}))
    assert lines == [
        "feed url session actor queue",
        "trades wss://h.test/***?token=*** app:Feed handle trades",
        "trades: session_args.secret = ***, headers.Authorization = ***, tls.verify = false, retry.max = 60.0",
        "queue high watermark low watermark messages/s",
        "trades 50 25 5000",
        "broker: redis://***@h:6379/0, namespace app",
        "actors: not checked ([workers] actors is not set)",
        "warning: feeds.trades.tls.verify is false: anyone on the way can read and change what comes",
    ]


def test_what_is_set_for_the_spool_and_the_supervisor_is_shown(tmp_path):
    feed = FEED + f'spool.directory = "{tmp_path}"\ndurability = "disk"\n[supervisor]\ngroup = "staging"\nlease = 3\n'
    lines = shown(load_text(tmp_path, feed, {"DYNO": "ingest.1"}))
    assert f"trades: spool.directory = {tmp_path}, spool.persistent = false, durability = disk" in lines
    assert "supervisor: group = staging, lease = 3.0" in lines
    assert not [line for line in shown(load_text(tmp_path, FEED)) if line.startswith("supervisor")]


def test_a_queue_that_no_feed_names_is_pointed_out(tmp_path):
    lines = shown(load_text(tmp_path, FEED + "[queues.trade]\n"))
    assert "warning: queues.trade: no feed names this queue; only a session's To(queue=…) can use it" in lines
    assert [line.split()[0] for line in lines if line.endswith("20000 10000 -")] == ["default", "trade"]


def test_markup_in_a_value_is_only_text(tmp_path):
    lines = shown(load_text(tmp_path, FEED + 'options = { note = "[bold]x[/nothing]" }\n'))
    assert "trades: options.note = [bold]x[/nothing]" in lines


def test_long_lines_are_not_cut(tmp_path):
    lines = shown(load_text(tmp_path, FEED.replace("/v1", "/v1" + "x" * 300) + f'options = {{ note = "{"y " * 1000}" }}\n'))
    assert any("x" * 300 in line for line in lines)
    assert "trades: options.note = " + " ".join("y" * 1000) in lines


def test_markup_in_the_table_is_only_text(tmp_path):
    lines = shown(load_text(tmp_path, FEED.replace("/v1", "/[bold]v1[/nothing]")))
    assert "trades wss://stream.test/[bold]v1[/nothing] - handle_trade default" in lines


def test_actors_that_were_compared_are_said_to_be(tmp_path, user_module: WriteModule):
    user_module("shopactors", "import dramatiq\n@dramatiq.actor\ndef handle_trade(payload): ...\n")
    settings = load_text(tmp_path, FEED + '[workers]\nactors = ["shopactors"]\n')
    check(settings)
    assert "actors: every feed's actor is in shopactors, on the feed's queue" in shown(settings)


def test_names_and_actors_come_at_once(tmp_path, user_module: WriteModule):
    user_module("shopactors", "import dramatiq\n@dramatiq.actor\ndef other(payload): ...\n")
    text = FEED + 'session = "nowhere_x:Feed"\n[workers]\nactors = ["shopactors"]\n'
    assert [problem.partition(": ")[0] for problem in problems(tmp_path, text)] == ["feeds.trades.session", "feeds.trades.actor"]


def test_actors_are_not_judged_without_their_middleware(tmp_path):
    text = FEED + '[broker]\nmiddleware = ["nowhere_x:m"]\n[workers]\nactors = ["nowhere_y"]\n'
    assert [problem.partition(": ")[0] for problem in problems(tmp_path, text)] == ["broker.middleware[0]"]


def test_a_file_without_feeds_is_a_problem(tmp_path):
    assert problems(tmp_path, "") == ["feeds: there is none, so there is nothing to run: write a table [feeds.<name>]"]


def test_foreign_workers_are_a_problem_only_for_who_runs_ours(tmp_path, monkeypatch, user_module: WriteModule):
    user_module("shopactors", "import dramatiq\n@dramatiq.actor\ndef handle_trade(payload): ...\n")
    (tmp_path / "workers.py").touch()
    monkeypatch.chdir(tmp_path)
    check(load_text(tmp_path, FEED))
    [problem] = problems(tmp_path, FEED + '[workers]\nactors = ["shopactors"]\n')
    assert problem.startswith(f"workers: {tmp_path}/workers.py shadows the module 'workers' of dramatiq-websocket")
    assert "--path" in problem


def test_tls_settings_that_openssl_refuses_are_told_before_the_first_connection(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate\n")
    more = FEED.replace("trades", "books") + f'tls.ca_file = "{tmp_path}/ca.pem"\n'
    ciphers, authority = problems(tmp_path, FEED + 'tls.ciphers = "NOPE"\n' + more)
    assert ciphers == "feeds.trades: tls.ciphers = 'NOPE': not usable"
    assert authority.startswith(f"feeds.books: tls.ca_file = '{tmp_path}/ca.pem': ")
