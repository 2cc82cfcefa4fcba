"""What of a URL or of the settings may be shown."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from settings.masking import mask_url, masked
from settings.model import Settings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://stream.test/v1", "wss://stream.test/v1"),
        ("wss://stream.test:8443/v1?token=abc&stream=trades", "wss://stream.test:8443/v1?token=***&stream=***"),
        ("wss://stream.test/?abc", "wss://stream.test/?***"),
        ("wss://stream.test/?=abc&a=b=c", "wss://stream.test/?=***&a=***"),
        ("wss://user:abc@stream.test/", "wss://***@stream.test/"),
        ("redis://:abc@h:6379/0", "redis://***@h:6379/0"),
        ("redis://:a@b@h:6379/0", "redis://***@h:6379/0"),
        ("unix:///run/redis.sock?password=abc", "unix:///run/redis.sock?password=***"),
        ("ws://[::1]:80/x#abc", "ws://[::1]:80/x#***"),
        ("redis://:ab/c@h:6379/0", "redis://***"),
        ("wss://h:abc/", "wss://***"),
        ("wss://[::1/abc", "wss://***"),
        ("abc", "***"),
        ("", "***"),
    ],
)
def test_userinfo_and_query_values_are_hidden(url, shown):
    assert mask_url(url) == shown
    assert "abc" not in mask_url(url)


@pytest.mark.parametrize(
    ("url", "secret", "shown"),
    [
        ("wss://h.test/v2/k3y/trades", "k3y", "wss://h.test/v2/***/trades"),
        ("wss://k3y.h.test/", "k3y", "wss://***.h.test/"),
        ("wss://h.test/v2/k3y", "wss://h.test/v2/k3y", "wss://h.test/***"),
        ("wss://h.test/", "wss://h.test/", "wss://h.test/"),
        ("wss://h.test/v2", "", "wss://h.test/v2"),
    ],
)
def test_what_the_environment_brought_into_host_and_path_is_hidden_too(url, secret, shown):
    assert mask_url(url, [SecretStr(secret)]) == shown


def test_only_what_was_set_is_shown_and_nothing_secret_of_it():
    feed = {
        "name": "trades", "secrets": (SecretStr("hunter2"),), "url": "wss://h.test/hunter2?t=hunter2", "actor": "handle",
        "session": "app:Feed", "session_args": {"key": "hunter2", "deep": ["hunter2"]}, "subscribe": ["hunter2", "x"],
        "headers": {"Authorization": "hunter2"}, "proxy": "http://u:hunter2@proxy.test", "subprotocols": ["v1", "token.hunter2"],
        "options": {"max_retries": 3, "note": "hunter2"}, "tls": {"verify": False}, "ping_interval": 5,
    }  # fmt: skip
    settings = Settings.model_validate({"broker": {"url": "redis://:hunter2@h/0"}, "feeds": {"trades": feed}})
    assert masked(settings) == {
        "broker": {"url": "redis://***@h/0"},
        "feeds": {
            "trades": {
                "url": "wss://h.test/***?t=***", "actor": "handle", "session": "app:Feed",
                "session_args": {"key": "***", "deep": "***"}, "subscribe": ["***", "***"],
                "headers": {"Authorization": "***"}, "proxy": "***", "subprotocols": ["v1", "***"],
                "options": {"max_retries": 3, "note": "***"}, "tls": {"verify": False}, "ping_interval": 5.0,
            }
        },
    }  # fmt: skip


def test_names_by_which_one_finds_things_stay_readable():
    feed = {"name": "t", "secrets": (SecretStr("prod"),), "url": "wss://h.test", "actor": "prod_handle", "queue": "prod"}
    shown = masked(Settings.model_validate({"feeds": {"t": feed}}))["feeds"]["t"]
    assert (shown["actor"], shown["queue"]) == ("prod_handle", "prod")
