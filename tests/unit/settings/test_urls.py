"""URLs of feeds, proxies and Redis: what is refused, and that no part that may be secret is shown."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from settings.urls import ProxyURL, RedisURL, WebSocketURL


def verdict(kind, value: str) -> str | None:
    """Return the sentence with which a type refuses a URL, or None."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        return error.errors()[0]["msg"]
    return None


@pytest.mark.parametrize(
    "url",
    [
        "ws://localhost",
        "wss://stream.test:443/v1?stream=trades",
        "WSS://stream.test/",
        "ws://[::1]:8080/x",
        "wss://u:p@h/",
        "wss://münze.test/ü",
    ],
)
def test_urls_of_feeds(url):
    assert verdict(WebSocketURL, url) is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://stream.test/hunter2", "a WebSocket URL starts with ws:// or wss://, not http://; did you mean ws://?"),
        ("https://stream.test/hunter2", "a WebSocket URL starts with ws:// or wss://, not https://; did you mean wss://?"),
        ("stream.test/hunter2", "must start with ws:// or wss://"),
        ("ftp://hunter2", "must start with ws:// or wss://"),
        ("", "must start with ws:// or wss://"),
        ("wss:///hunter2", "the URL has no host"),
        ("wss://:443/hunter2", "the URL has no host"),
        ("wss://stream.test:hunter2/", "the URL has no valid host and port"),
        ("wss://stream.test:70000/", "the URL has no valid host and port"),
        ("wss://[::1/hunter2", "the URL has no valid host and port"),
        ("wss://stream.test:0/hunter2", "the URL has port 0"),
        ("wss://stream..test/hunter2", "the URL has no valid host and port"),
        ("wss://" + "ü" * 80 + ".test/", "the URL has no valid host and port"),
        ("wss://stream test/hunter2", "the URL has a space in its host"),
        ("wss://stream.test/#hunter2", "a WebSocket URL has no fragment (RFC 6455, 3): write %23 for a '#' that belongs to it"),
        ("wss://stream.test/\r\nX: hunter2", "the URL contains a control character, or begins or ends with a space"),
        (" wss://stream.test/", "the URL contains a control character, or begins or ends with a space"),
    ],
)
def test_what_is_no_url_of_a_feed_is_said_without_showing_it(url, says):
    assert verdict(WebSocketURL, url) == says


@pytest.mark.parametrize(
    "url", ["environment", "http://proxy.test:3128", "https://u:p@proxy.test", "socks5://proxy.test", "socks5h://proxy.test"]
)
def test_proxies(url):
    assert verdict(ProxyURL, url) is None


@pytest.mark.parametrize("url", ["proxy.test:3128", "ftp://hunter2", "http://", "Environment", "http://hunter2:x/"])
def test_no_proxies(url):
    said = verdict(ProxyURL, url)
    assert said is not None
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "url",
    ["redis://localhost", "redis://localhost:6379/0", "rediss://:pw@h:6380/?ssl_cert_reqs=none", "unix:///run/redis.sock?db=1"],
)
def test_urls_of_redis(url):
    assert verdict(RedisURL, url) is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:6379", "must start with redis://, rediss:// or unix://"),
        ("http://hunter2", "must start with redis://, rediss:// or unix://"),
        ("redis://:hunter2@", "the URL has no host"),
        ("redis://:hunt/er2@localhost:6379/0", "the URL has no valid host and port"),
        ("redis://localhost/hunter2", "the URL's path must be the number of a database (redis://host:6379/0)"),
    ],
)
def test_what_is_no_url_of_redis_is_said_without_showing_it(url, says):
    assert verdict(RedisURL, url) == says


def test_secret_urls_stay_secret():
    value = TypeAdapter(RedisURL).validate_python("redis://:hunter2@localhost")
    assert isinstance(value, SecretStr)
    assert "hunter2" not in repr(value)
