"""Problems as sentences: paths, the nearest known key, types, and nothing that came from the environment."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from settings.model import Settings
from settings.problems import Problem, SettingsError, explain, show_path, unknown_key


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ((), ""),
        (("feeds", "trades", "ping_timeout"), "feeds.trades.ping_timeout"),
        (("feeds", "a.b", "subscribe", 2), 'feeds."a.b".subscribe[2]'),
        (("queues", "a\nb"), 'queues."a\\nb"'),
    ],
)
def test_paths_are_shown_as_toml_has_them(path, shown):
    assert show_path(path) == shown


def test_an_error_is_all_its_problems_a_line_each():
    error = SettingsError([Problem("a.b", "is wrong"), Problem("", "is wrong too")])
    assert str(error) == "a.b: is wrong\nis wrong too"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (("feeds", "trades", "ping_timout"), "unknown key; did you mean ping_timeout?"),
        (("feeds", "trades", "verify"), "unknown key; did you mean tls.verify?"),
        (("feeds", "trades", "heartbeat", "intervall"), "unknown key; did you mean interval?"),
        (("queues", "trades", "high_watermrak"), "unknown key; did you mean high_watermark?"),
        (("feed",), "unknown key; did you mean feeds?"),
        (("feeds", "trades", "zzz"), "unknown key"),
        (("feeds", "trades", "name"), "unknown key"),
        (("feeds", "trades", "actor", "deep"), "unknown key"),
    ],
)
def test_the_nearest_known_key(path, says):
    assert unknown_key(Settings, path) == says


def explained(document, sources=None) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(document)
    return {show_path(path): text for path, text in explain(caught.value, Settings, sources or {})}


@pytest.mark.parametrize(
    ("feed", "at", "says"),
    [
        ({"actor": 5}, "actor", "must be text, not the number 5"),
        ({"actor": True}, "actor", "must be text, not true"),
        ({"idle_timeout": "15"}, "idle_timeout", "must be a number, not text"),
        ({"idle_timeout": False}, "idle_timeout", "must be a number, not false"),
        ({"max_message_bytes": 1.5}, "max_message_bytes", "must be a whole number, not the number 1.5"),
        ({"subscribe": "x"}, "subscribe", "must be a list, not text"),
        ({"subscribe": ["x", {}]}, "subscribe[1]", "must be text, not a table"),
        ({"tls": {"verify": "no"}}, "tls.verify", "must be true or false, not text"),
        ({"tls": "x"}, "tls", "must be a table, not text"),
        ({"headers": ["x"]}, "headers", "must be a table, not a list"),
        ({"compression": "gzip"}, "compression", "must be 'none' or 'deflate'"),
        ({"ping_interval": -1}, "ping_interval", "must be greater than or equal to 0, not -1"),
        ({"url": None}, "url", "must be text, not a NoneType"),
    ],
)
def test_what_must_be_there_and_what_is(feed, at, says):
    document = {"feeds": {"t": {"name": "t", "url": "ws://h", "actor": "a", **feed}}}
    assert explained(document) == {f"feeds.t.{at}": says}


def test_what_is_missing():
    assert explained({"feeds": {"t": {"name": "t"}}}) == {"feeds.t.url": "is required", "feeds.t.actor": "is required"}


def test_a_key_of_a_table_is_named_by_its_own_path():
    said = explained({"feeds": {"a b": {"name": "x", "url": "ws://h", "actor": "a"}}})
    assert list(said) == ['feeds."a b"']


def test_the_echo_of_another_problem_is_left_out():
    assert list(explained({"queues": {"q": {"high_watermark": "x"}}})) == ["queues.q.high_watermark"]


def test_what_came_from_the_environment_is_named_and_not_shown():
    feed = {"name": "t", "url": "http://hunter2", "actor": "a", "queue": "hunter2 !", "idle_timeout": "hunter2"}
    sources = {("feeds", "t", key): ("SECRET",) for key in ("url", "queue", "idle_timeout")}
    said = explained({"feeds": {"t": feed}}, sources)
    assert "hunter2" not in str(said)
    assert said["feeds.t.queue"].startswith("the value of ${SECRET} is no queue name")
    assert said["feeds.t.url"].endswith("did you mean ws://? (from ${SECRET})")
    assert said["feeds.t.idle_timeout"] == "must be a number, not text (an environment variable gives text)"
