"""Which proxy is chosen, and what its URL says."""

from __future__ import annotations

import pytest

from ingest.connection.proxy import Proxy, choose_proxy, parse_proxy
from ingest.connection.target import parse_target
from ingest.errors import DialFailed
from tests.support.dialling import feed_settings

NAMES = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "REQUEST_METHOD",
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def chosen(url: str, proxy: str | None) -> str | None:
    found = choose_proxy(feed_settings(url, proxy=proxy), parse_target(url))
    return None if found is None else found.shown


def from_environment(monkeypatch: pytest.MonkeyPatch, url: str, **environment: str) -> str | None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return chosen(url, "environment")


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.example", Proxy("http", "proxy.example", 80)),
        ("https://proxy.example:8443/", Proxy("https", "proxy.example", 8443)),
        ("https://proxy.example", Proxy("https", "proxy.example", 443)),
        ("socks5h://proxy.example", Proxy("socks5h", "proxy.example", 1080)),
        ("socks5://user:p%40ss@[::1]:9050", Proxy("socks5", "::1", 9050, "user", "p@ss")),
        ("http://user@proxy.example:3128", Proxy("http", "proxy.example", 3128, "user", None)),
        ("http://bücher.example", Proxy("http", "xn--bcher-kva.example", 80)),
    ],
)
def test_the_parts_of_a_proxys_url(url: str, proxy: Proxy) -> None:
    assert parse_proxy(url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:s3cr3t@proxy.example",
        "http://user:s3cr3t@",
        "http://user:s3cr3t@proxy.example:port",
        "http://user:s3cr3t@proxy.example:99999",
        "http://user:s3cr3t@[nonsense]",
        "http://user:s3cr3t@pro xy",
        "socks5://user:s3cr3t%C3%A4@proxy.example",
        "socks5://user:s3cr3t%00@proxy.example",
        "socks5://user:s3cr3t" + "x" * 250 + "@proxy.example",
        "s3cr3t",
    ],
)
def test_an_unusable_proxy_is_refused_without_its_credentials(url: str) -> None:
    with pytest.raises(DialFailed) as raised:
        parse_proxy(url)

    assert raised.value.step == "proxy"
    assert "s3cr3t" not in f"{raised.value} {raised.value!r}"


def test_neither_text_nor_repr_of_a_proxy_has_its_credentials() -> None:
    proxy = parse_proxy("http://us3r:s3cr3t@[::1]:3128")

    assert proxy.shown == "http://[::1]:3128"
    assert "us3r" not in repr(proxy)
    assert "s3cr3t" not in repr(proxy)


def test_none_is_the_default_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://other.example")

    assert chosen("ws://a.example/", None) is None
    assert chosen("ws://a.example/", "http://proxy.example") == "http://proxy.example:80"


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("ws://a.example/", {"http_proxy": "http://plain.example:3128"}, "http://plain.example:3128"),
        ("wss://a.example/", {"http_proxy": "http://plain.example:3128"}, None),
        ("wss://a.example/", {"https_proxy": "http://tls.example"}, "http://tls.example:80"),
        ("wss://a.example/", {"HTTPS_PROXY": "https://tls.example"}, "https://tls.example:443"),
        ("ws://a.example/", {"all_proxy": "socks5h://all.example"}, "socks5h://all.example:1080"),
        (
            "ws://a.example/",
            {"http_proxy": "http://plain.example", "all_proxy": "socks5://all.example"},
            "http://plain.example:80",
        ),
        ("ws://a.example/", {"http_proxy": "plain.example:3128"}, "http://plain.example:3128"),
        ("ws://a.example/", {"http_proxy": ""}, None),
        ("ws://a.example/", {}, None),
    ],
)
def test_the_environments_proxy_by_scheme(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], expected: str | None
) -> None:
    assert from_environment(monkeypatch, url, **environment) == expected


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("a.example", True),
        (".example", True),
        ("example", True),
        ("b.example, a.example", True),
        ("a.example:8080", True),
        ("a.example:9090", False),
        ("*", True),
        ("b.example", False),
        ("xa.example", False),
    ],
)
def test_no_proxy_is_respected(monkeypatch: pytest.MonkeyPatch, no_proxy: str, direct: bool) -> None:
    found = from_environment(monkeypatch, "ws://a.example:8080/", http_proxy="http://proxy.example", no_proxy=no_proxy)

    assert (found is None) is direct
