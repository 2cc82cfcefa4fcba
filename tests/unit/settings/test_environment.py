"""The variables that are read by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentry_sdk.utils import BadDsn, Dsn

from settings.environment import Environment, WebEnvironment, feeds_file, on_dyno
from settings.problems import SettingsError


def test_the_defaults():
    environment = Environment.read({})
    assert (environment.feeds_file, environment.log_level, environment.log_format) == (Path("feeds.toml"), "INFO", "console")
    assert (environment.redis_url, environment.sentry_dsn) == (None, None)


def test_what_is_set():
    secret = {"REDIS_URL": "redis://:hunter2@h", "SENTRY_DSN": "https://hunter2@s/1"}
    environment = Environment.read({"FEEDS_FILE": "/x/my.toml", "LOG_LEVEL": "debug", "LOG_FORMAT": "JSON", **secret})
    assert (environment.feeds_file, environment.log_level, environment.log_format) == (Path("/x/my.toml"), "DEBUG", "json")
    assert environment.redis_url is not None
    assert environment.sentry_dsn is not None
    assert environment.redis_url.get_secret_value() == "redis://:hunter2@h"
    assert environment.sentry_dsn.get_secret_value() == "https://hunter2@s/1"
    assert "hunter2" not in repr(environment)


def test_where_health_is_told():
    assert (Environment.read({}).health_port, Environment.read({}).health_host) == (None, "127.0.0.1")
    told = Environment.read({"HEALTH_PORT": " 9090 ", "HEALTH_HOST": "0.0.0.0"})
    assert (told.health_port, told.health_host) == (9090, "0.0.0.0")
    assert Environment.read({"HEALTH_PORT": "0"}).health_port == 0


@pytest.mark.parametrize("port", ["http", "-1", "65536", "9090.5", "9_0", "٣", "1" * 5000])
def test_a_port_that_is_none_is_told(port):
    with pytest.raises(SettingsError, match="HEALTH_PORT: must be a TCP port, 0 to 65535"):
        Environment.read({"HEALTH_PORT": port})


def test_empty_is_unset():
    empty = dict.fromkeys(("FEEDS_FILE", "REDIS_URL", "SENTRY_DSN", "LOG_LEVEL", "LOG_FORMAT", "HEALTH_PORT", "HEALTH_HOST"), "")
    assert Environment.read(empty) == Environment()


def test_every_problem_is_told_at_once():
    with pytest.raises(SettingsError) as caught:
        Environment.read({"LOG_LEVEL": "loud", "LOG_FORMAT": "xml"})
    assert str(caught.value).splitlines() == [
        "LOG_LEVEL: must be one of debug, info, warning, error, critical",
        "LOG_FORMAT: must be one of console, json",
    ]


@pytest.mark.parametrize(
    "dsn", ["hunter2", "https://hunter2@s", "https://s/1", "https://hunter2@s/x", "ftp://hunter2@s/1", "https://hunter2@s:x/1"]
)
def test_what_sentry_would_refuse_is_a_problem_that_does_not_show_the_key(dsn):
    with pytest.raises((BadDsn, ValueError)):
        Dsn(dsn)
    with pytest.raises(SettingsError, match="SENTRY_DSN: is no DSN") as caught:
        Environment.read({"SENTRY_DSN": dsn})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "dsn", ["https://key@sentry.example.com/1", "http://key:secret@127.0.0.1:9000/prefix/42", " https://key@s/1 "]
)
def test_what_sentry_takes_is_no_problem(dsn):
    Dsn(dsn.strip())
    assert Environment.read({"SENTRY_DSN": dsn}).sentry_dsn is not None


def test_the_file_by_default():
    assert feeds_file({}) == Path("feeds.toml")
    assert feeds_file({"FEEDS_FILE": "a/b.toml"}) == Path("a/b.toml")


def test_a_dyno_says_so():
    assert [on_dyno(environ) for environ in ({}, {"DYNO": ""}, {"DYNO": "ingest.1"})] == [False, False, True]


def test_the_page_listens_where_a_platform_says() -> None:
    dyno = WebEnvironment.read({"PORT": "5000", "WEB_TOKEN": " 0123456789abcdef ", "DYNO": "web.1"})
    assert (dyno.port, dyno.platform_port) == (5000, True)
    assert dyno.token is not None
    assert dyno.token.get_secret_value() == "0123456789abcdef"
    assert "0123456789abcdef" not in repr(dyno)
    assert WebEnvironment.read({"PORT": "5000"}).platform_port is False
    assert WebEnvironment.read({"PORT": "", "WEB_TOKEN": "", "DYNO": "run.1"}) == WebEnvironment()


def test_every_problem_of_the_page_is_told_and_no_token_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        WebEnvironment.read({"PORT": "65536", "WEB_TOKEN": "hunter2é" * 3})
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["PORT", "WEB_TOKEN"]
    assert "hunter2" not in str(caught.value)
