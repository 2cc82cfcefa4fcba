"""Loading: file and environment together, every problem at once, and no secret in any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings import SettingsError, load
from tests.support.settings_files import FEED, load_text, problems_of
from tests.support.spools import read_only_folder


def test_a_feed_knows_its_name_and_what_the_environment_brought(tmp_path):
    environ = {"TOKEN": "hunter2", "OTHER": "elsewhere"}
    text = FEED + 'headers = { Authorization = "Bearer ${TOKEN}" }\n[broker]\nnamespace = "${OTHER}"\n'
    feed = load_text(tmp_path, text, environ).feeds["trades"]
    assert feed.name == "trades"
    assert feed.headers["Authorization"].get_secret_value() == "Bearer hunter2"
    assert [secret.get_secret_value() for secret in feed.secrets] == ["hunter2"]


@pytest.mark.parametrize(
    ("file", "environ", "url"),
    [
        ("", {}, "redis://127.0.0.1:6379/0"),
        ("", {"REDIS_URL": ""}, "redis://127.0.0.1:6379/0"),
        ("", {"REDIS_URL": "redis://env/1"}, "redis://env/1"),
        ('namespace = "x"', {"REDIS_URL": "redis://env/1"}, "redis://env/1"),
        ('url = "redis://file/2"', {"REDIS_URL": "redis://env/1"}, "redis://file/2"),
        ('url = "${REDIS_URL}"', {"REDIS_URL": "redis://env/1"}, "redis://env/1"),
        ('url = "${REDIS_URL}"', {}, "redis://127.0.0.1:6379/0"),
        ('url = "${OTHER}"', {"REDIS_URL": "redis://env/1", "OTHER": "redis://other/3"}, "redis://other/3"),
    ],
)
def test_what_the_file_says_of_redis_wins(tmp_path, file, environ, url):
    assert load_text(tmp_path, f"[broker]\n{file}\n", environ).broker.url.get_secret_value() == url


def test_the_rest_of_the_broker_table_stays(tmp_path):
    assert load_text(tmp_path, '[broker]\nurl = "${REDIS_URL}"\nnamespace = "mine"\n').broker.namespace == "mine"


def test_a_bad_variable_is_named_where_it_counts(tmp_path):
    assert problems_of(tmp_path, FEED, {"REDIS_URL": "http://hunter2"}) == [
        "broker.url: must start with redis://, rediss:// or unix:// (from ${REDIS_URL})"
    ]


def test_the_file_is_the_one_given_or_the_environments(tmp_path):
    (tmp_path / "mine.toml").write_text(FEED)
    (tmp_path / "other.toml").write_text(FEED.replace("trades", "other"))
    environ = {"FEEDS_FILE": str(tmp_path / "mine.toml")}
    assert list(load(None, environ).feeds) == ["trades"]
    assert list(load(tmp_path / "other.toml", environ).feeds) == ["other"]


def test_a_missing_file_says_how_to_name_another(tmp_path):
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "nothing.toml", {"LOG_LEVEL": "loud"})
    assert [problem.path for problem in caught.value.problems] == ["LOG_LEVEL", str(tmp_path / "nothing.toml")]


def test_a_file_that_is_not_needed_may_be_absent_unless_it_was_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load(environ={"REDIS_URL": "redis://db:1/2"}, needed=False)
    assert (settings.broker.url.get_secret_value(), settings.feeds) == ("redis://db:1/2", {})
    for path, environ in ((Path("none.toml"), {}), (None, {"FEEDS_FILE": "none.toml"})):
        with pytest.raises(SettingsError, match="there is no such file"):
            load(path, environ, needed=False)
    Path("feeds.toml").write_text("[broker]\nnamespace = 7\n")
    with pytest.raises(SettingsError, match="namespace"):
        load(environ={}, needed=False)


def test_every_problem_comes_at_once(tmp_path):
    text = """
[broker]
url = "http://x"
[supervisor]
shutdown_timeut = 4
[queues.trades]
low_watermark = 30000
[feeds.trades]
url = "https://${TOKEN}"
actor = 5
ping_timout = 4
idle_timeout = 15000
headers = { Authorization = "a\\r\\nb" }
tls.ca_file = "nothing.pem"
[feeds.book]
url = "wss://${UNSET}/"
retry.jitter = "half"
"""
    found = problems_of(tmp_path, text, {"TOKEN": "hunter2", "LOG_FORMAT": "xml"})
    assert sorted(line.partition(":")[0] for line in found) == [
        "LOG_FORMAT", "broker.url", "feeds.book.actor", "feeds.book.retry.jitter", "feeds.book.url", "feeds.trades.actor",
        "feeds.trades.headers.Authorization", "feeds.trades.idle_timeout", "feeds.trades.ping_timout", "feeds.trades.tls.ca_file",
        "feeds.trades.url", "queues.trades.low_watermark", "supervisor.shutdown_timeut",
    ]  # fmt: skip
    assert "hunter2" not in str(found)


def test_an_unset_variable_is_one_problem_and_no_second_at_its_key(tmp_path):
    # `${PROXY}` itself would be no proxy's URL.
    assert problems_of(tmp_path, FEED + 'proxy = "${PROXY}"\n') == [
        "feeds.trades.proxy: the environment variable PROXY is not set"
    ]


@pytest.mark.parametrize("key", ["name", "secrets"])
def test_what_the_loader_puts_in_is_no_key_of_the_file(tmp_path, key):
    [problem] = problems_of(tmp_path, FEED + f'{key} = "x"\n')
    assert problem.startswith(f"feeds.trades.{key}: unknown key")


@pytest.mark.parametrize("text", ["feeds = 3\n", "[[feeds]]\n", "feeds.trades = 3\n", "broker = 3\n", "queues.trades = 3\n"])
def test_something_else_where_a_table_belongs(tmp_path, text):
    [problem] = problems_of(tmp_path, text)
    assert "must be a table, not" in problem


def test_files_are_looked_for(tmp_path):
    (tmp_path / "ca.pem").touch()
    assert problems_of(tmp_path, FEED + f'tls.ca_file = "{tmp_path}/ca.pem"\n') == []
    assert problems_of(tmp_path, FEED + 'tls.extra_ca_file = "/nothing/ca.pem"\n') == [
        "feeds.trades.tls.extra_ca_file: there is no readable file '/nothing/ca.pem'"
    ]


def test_no_feeds_is_for_the_commands_to_judge(tmp_path):
    assert load_text(tmp_path, "").feeds == {}


@pytest.mark.parametrize(
    ("environ", "says", "persistent"),
    [
        ({}, "", True),
        ({"DYNO": "ingest.1"}, "", False),
        ({"DYNO": "ingest.1"}, ", persistent = true", True),
        ({}, ", persistent = false", False),
    ],
)
def test_a_dynos_disk_ends_with_it_unless_the_file_says_otherwise(tmp_path, environ, says, persistent):
    spool = load_text(tmp_path, FEED + f'spool = {{ directory = "{tmp_path}"{says} }}\n', environ).feeds["trades"].spool
    assert spool is not None
    assert spool.persistent is persistent


@pytest.mark.parametrize("text", ["feeds = 3\n", "feeds.trades = 3\n", FEED + "spool = 3\n"])
def test_a_dyno_makes_no_problem_of_another(tmp_path, text):
    assert problems_of(tmp_path, text, {"DYNO": "ingest.1"}) == problems_of(tmp_path, text)


def test_the_folder_of_a_spool_is_looked_for_where_feeds_run_and_not_where_workers_do(tmp_path):
    path = tmp_path / "feeds.toml"
    path.write_text(FEED + 'spool.directory = "/nothing/spool"\n')
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    assert str(caught.value) == (
        "feeds.trades.spool.directory: there is no folder '/nothing/spool': create it, owned by the user that runs the feeds"
    )
    assert load(path, {}, spools=False).feeds["trades"].spool is not None


def test_a_folder_that_cannot_be_written_to(tmp_path):
    with read_only_folder(tmp_path) as folder:
        assert problems_of(tmp_path, FEED + f'spool.directory = "{folder}"\n') == [
            f"feeds.trades.spool.directory: the folder '{folder}' is not writable for the user that runs the feeds: "
            "change its owner or mode"
        ]
