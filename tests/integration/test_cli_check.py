"""``python -m ingest check`` as a process: whatever is wrong is a sentence on standard error and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import ROOT, run_command
from tests.support.settings_files import FEED

ACTOR = 'import dramatiq\n@dramatiq.actor(queue_name="default")\ndef handle_trade(payload): ...\n'


def refused(folder: Path, feeds: str | None, *arguments: str, **environ: str) -> list[str]:
    """Return the problems that ``check`` names; it must say nothing else."""
    if feeds is not None:
        (folder / "feeds.toml").write_text(feeds)
    done = run_command(folder, "check", *arguments, **environ)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    header, *problems = done.stderr.splitlines()
    assert header.startswith(f"{len(problems)} problem")
    return [problem.strip() for problem in problems]


def test_good_settings_are_shown_and_end_with_0(tmp_path):
    (tmp_path / "feeds.toml").write_text(FEED.replace("/v1", "/v1?token=${TOKEN}") + '[workers]\nactors = ["my.actors"]\n')
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "actors.py").write_text(ACTOR)
    done = run_command(tmp_path, "check", TOKEN="hunter2", REDIS_URL="redis://:hunter2@redis.test:6379/0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "wss://stream.test/v1?token=***" in done.stdout
    assert "broker: redis://***@redis.test:6379/0, namespace dramatiq" in done.stdout
    assert "actors: every feed's actor is in my.actors, on the feed's queue" in done.stdout
    assert "hunter2" not in done.stdout
    assert "\x1b" not in done.stdout


def test_actors_may_be_in_the_module_of_a_session(tmp_path):
    (tmp_path / "feeds.toml").write_text(FEED + 'session = "app:Trades"\n[workers]\nactors = ["app"]\n')
    (tmp_path / "app.py").write_text(f"from ingest import Session\n{ACTOR}class Trades(Session): ...\n")
    done = run_command(tmp_path, "check")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_file(tmp_path):
    hint = "there is no such file; name yours with --feeds or FEEDS_FILE"
    assert refused(tmp_path, None) == [f"feeds.toml: {hint}"]
    assert refused(tmp_path, None, "--feeds", "mine.toml", FEEDS_FILE="other.toml") == [f"mine.toml: {hint}"]


def test_a_feed_with_a_name_that_is_none_is_told_once(tmp_path):
    [problem] = refused(tmp_path, FEED.replace("feeds.trades", 'feeds."a b"'))
    assert problem.startswith('feeds."a b": a feed\'s name is')


def test_a_foreign_workers_is_warned_of_where_ours_are_not_asked_for(tmp_path):
    (tmp_path / "feeds.toml").write_text(FEED)
    (tmp_path / "workers.py").write_text("")
    done = run_command(tmp_path, "check")
    assert done.returncode == 0
    assert f"warning: {tmp_path / 'workers.py'} would be what 'dramatiq workers' runs here" in done.stdout


def test_names_that_lead_nowhere_are_told_with_all_else_that_is_wrong(tmp_path):
    wrong = 'session = "nomod:Trades"\nidle_timeout = "5"\nretry.function = "json:nope"\n'
    more = '[telemetry]\nsubscribers = ["json", "json:dumbs"]\n[feeds.other]\nurl = 5\nsession = 7\n'
    problems = refused(tmp_path, FEED + wrong + more)
    assert "feeds.trades.idle_timeout: must be a number, not text" in problems
    assert any(problem.startswith("feeds.trades.session: ") and "nomod" in problem for problem in problems)
    assert "feeds.trades.retry.function: the module 'json' has no 'nope'" in problems
    assert "telemetry.subscribers[1]: the module 'json' has no 'dumbs'; did you mean dumps?" in problems
    assert len([problem for problem in problems if "session" in problem]) == 2, "each once"


def test_names_of_the_wrong_kind_are_told_with_all_else_that_is_wrong(tmp_path):
    wrong = 'session = "json:JSONDecoder"\nheaders_function = "json:__name__"\nidle_timeout = "5"\n'
    assert refused(tmp_path, FEED + wrong) == [
        "feeds.trades.idle_timeout: must be a number, not text",
        "feeds.trades.session: json:JSONDecoder is the class JSONDecoder; a subclass of ingest.Session is expected",
        "feeds.trades.headers_function: json:__name__ is no function but a str",
    ]


def test_modules_of_actors_are_tried_though_the_rest_is_wrong(tmp_path):
    (tmp_path / "replacing.py").write_text(
        "import dramatiq\nfrom dramatiq.brokers.stub import StubBroker\ndramatiq.set_broker(StubBroker())\n"
    )
    (tmp_path / "audit.py").write_text(
        'import dramatiq\nclass Audit(dramatiq.Middleware):\n    actor_options = frozenset({"audited"})\n'
    )
    (tmp_path / "audited.py").write_text(ACTOR.replace("default", 'default", audited="yes'))
    wrong = FEED + "ping_timout = 5\n" + '[workers]\nactors = ["nowhere.actors", 7, "no module", "replacing", "audited"]\n'
    problems = refused(tmp_path, wrong + '[broker]\nmiddleware = ["audit:Audit"]\n')
    told = {problem.partition(": ")[0]: problem.partition(": ")[2] for problem in problems}
    assert len(told) == len(problems), "each once"
    assert told["feeds.trades.ping_timout"] == "unknown key; did you mean ping_timeout?"
    assert told["workers.actors[0]"].startswith("there is no module 'nowhere'")
    assert told["workers.actors[1]"] == "must be text, not the number 7"
    assert told["workers.actors[2]"].startswith("'no module' is no module name")
    assert told["workers.actors[3]"].startswith("the module 'replacing' replaces the broker")
    assert "workers.actors[4]" not in told, "its middleware knows the option"


def test_without_their_middleware_modules_of_actors_are_not_judged(tmp_path):
    (tmp_path / "audited.py").write_text(ACTOR.replace("default", 'default", audited="yes'))
    more = '[workers]\nactors = ["audited"]\n[broker]\nmiddleware = ["nowhere:Audit"]\n'
    for wrong in ("", "ping_timout = 5\n"):
        problems = refused(tmp_path, FEED + wrong + more)
        assert any(problem.startswith("broker.middleware[0]: there is no module 'nowhere'") for problem in problems)
        assert not any(problem.startswith("workers.actors") for problem in problems)


def test_a_session_that_is_not_there_keeps_no_module_of_actors_from_being_tried(tmp_path):
    (tmp_path / "audit.py").write_text("import dramatiq\nclass Audit(dramatiq.Middleware): ...\n")
    (tmp_path / "actors.py").write_text(ACTOR.replace("handle_trade", "handle_trades"))
    more = 'session = "nowhere:Feed"\n[workers]\nactors = ["actors"]\n[broker]\nmiddleware = ["audit:Audit"]\n'
    session, actor = refused(tmp_path, FEED + more)
    assert session.startswith("feeds.trades.session: there is no module 'nowhere'")
    assert actor.startswith("feeds.trades.actor: no module of [workers] actors has an actor 'handle_trade'")


SYNTAX = "feeds.toml: line 2, column 5: Expected '=' after a key in a key/value pair"


@pytest.mark.parametrize(
    ("feeds", "says"),
    [
        ("[feeds.trades]\nurl wss\n", [SYNTAX]),
        (FEED + "[queues.q]\n[queues.q]\n", ["feeds.toml: line 5, column 10: [queues.q] is there twice"]),
        (FEED + "ping_timout = 5\n", ["feeds.trades.ping_timout: unknown key; did you mean ping_timeout?"]),
        (FEED + 'ping_timeout = "5"\n', ["feeds.trades.ping_timeout: must be a number, not text"]),
        (
            FEED.replace("wss", "http"),
            ["feeds.trades.url: a WebSocket URL starts with ws:// or wss://, not http://; did you mean ws://?"],
        ),
        (
            FEED + "idle_timeout = 15000\n",
            [
                "feeds.trades.idle_timeout: 15000 s is more than an hour (whole hours, up to a day, are taken); "
                "durations are seconds, did you mean 15?"
            ],
        ),
        (FEED + 'headers.X = "${TOKEN}"\n', ["feeds.trades.headers.X: the environment variable TOKEN is not set"]),
        (
            FEED + "[queues.q]\nhigh_watermark = 5\nlow_watermark = 6\n",
            ["queues.q.low_watermark: low_watermark (6) must be below high_watermark (5)"],
        ),
        (
            FEED + 'headers.X = "a\\r\\nY: hunter2"\n',
            ["feeds.trades.headers.X: the header has a value with a line break (CR or LF)"],
        ),
        (
            FEED + 'telemetry_id = "a b"\nsession_args = { a = 1 }\n[broker]\nurl = "localhost"\n',
            [
                "broker.url: must start with redis://, rediss:// or unix://",
                "feeds.trades.session_args: arguments of a session, but the feed has no session",
                "feeds.trades.telemetry_id: 'a b' is no label: at most 100 letters, digits and any of _ . : / @ -",
            ],
        ),
    ],
)
def test_bad_settings(tmp_path, feeds, says):
    assert refused(tmp_path, feeds) == says


def test_code_of_the_users_that_is_not_there_or_not_what_it_should_be(tmp_path):
    (tmp_path / "mine.py").write_text("class Other: ...\n")
    (tmp_path / "broken.py").write_text("import sys\nsys.exit('hunter2 is set, so this ends here')\n")
    (tmp_path / "actors.py").write_text(ACTOR.replace("handle_trade", "handle_trades"))
    feeds = "".join(
        FEED.replace("trades]", f"{name}]") + f'session = "{session}"\n'
        for name, session in [("a", "nowhere:Feed"), ("b", "mine:Feed"), ("c", "mine:Other"), ("d", "broken:Feed")]
    )
    assert refused(tmp_path, feeds + '[workers]\nactors = ["actors"]\n') == [
        f"feeds.a.session: there is no module 'nowhere' (looked in {tmp_path} and on the Python path)",
        "feeds.b.session: the module 'mine' has no 'Feed'",
        "feeds.c.session: mine:Other is the class Other; a subclass of ingest.Session is expected",
        "feeds.d.session: the module 'broken' does not import: broken.py, line 2: SystemExit: hunter2 is set, so this ends here",
        *(
            f"feeds.{name}.actor: no module of [workers] actors has an actor 'handle_trade'; did you mean 'handle_trades'?"
            for name in "abcd"
        ),
    ]


def test_foreign_workers_for_who_runs_ours(tmp_path):
    (tmp_path / "workers.py").touch()
    (tmp_path / "actors.py").write_text(ACTOR)
    [problem] = refused(tmp_path, FEED + '[workers]\nactors = ["actors"]\n')
    assert problem.startswith(f"workers: {tmp_path}/workers.py shadows the module 'workers' of dramatiq-websocket")
    assert problem.endswith(f"'dramatiq workers --path . {ROOT}'")


def test_variables_of_ours_that_make_no_sense(tmp_path):
    assert refused(tmp_path, FEED, LOG_LEVEL="loud", REDIS_URL="http://hunter2") == [
        "LOG_LEVEL: must be one of debug, info, warning, error, critical",
        "broker.url: must start with redis://, rediss:// or unix:// (from ${REDIS_URL})",
    ]


def test_run_refuses_the_same_in_the_same_words(tmp_path):
    (tmp_path / "feeds.toml").write_text(FEED + "ping_timout = 5\n")
    done = run_command(tmp_path, "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "1 problem with the settings (feeds.toml):",
        "  feeds.trades.ping_timout: unknown key; did you mean ping_timeout?",
    ]
