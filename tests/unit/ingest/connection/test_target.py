"""URLs, taken apart."""

from __future__ import annotations

import pytest

from ingest.connection.target import Target, basic, parse_target
from ingest.errors import UrlFailed


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "resource"),
    [
        ("ws://example.com", False, "example.com", 80, "/"),
        ("wss://example.com/feed", True, "example.com", 443, "/feed"),
        ("wss://Example.COM:8443/Feed?A=b", True, "example.com", 8443, "/Feed?A=b"),
        ("WSS://example.com", True, "example.com", 443, "/"),
        ("ws://example.com?x=1", False, "example.com", 80, "/?x=1"),
        ("ws://example.com/a;p=1/b;q=2", False, "example.com", 80, "/a;p=1/b;q=2"),
        ("ws://example.com/a b/ä?c=d e&f=%2F", False, "example.com", 80, "/a%20b/%C3%A4?c=d%20e&f=%2F"),
        ("ws://[2001:db8::1]:81/", False, "2001:db8::1", 81, "/"),
        ("ws://bücher.example/", False, "xn--bcher-kva.example", 80, "/"),
    ],
)
def test_the_parts_of_a_url(url: str, secure: bool, host: str, port: int, resource: str) -> None:
    assert parse_target(url) == Target(secure, host, port, resource)


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("ws://example.com:80/", "example.com"),
        ("wss://example.com:443/", "example.com"),
        ("ws://example.com:443/", "example.com:443"),
        ("wss://example.com:80/", "example.com:80"),
        ("wss://[::1]/", "[::1]"),
        ("wss://[::1]:444/", "[::1]:444"),
    ],
)
def test_the_host_header_leaves_out_only_the_schemes_own_port(url: str, header: str) -> None:
    assert parse_target(url).host_header == header


def test_an_ipv6_zone_is_used_and_not_told() -> None:
    target = Target(False, "fe80::1%eth0", 80, "/")

    assert (target.bracketed, target.address) == ("[fe80::1]", "[fe80::1]:80")


@pytest.mark.parametrize(
    ("user_info", "user", "password"),
    [("user:secret", "user", "secret"), ("user", "user", ""), ("us%3Aer:p%40ss%C3%A4", "us:er", "p@ssä")],
)
def test_user_info_becomes_basic_authorization(user_info: str, user: str, password: str) -> None:
    target = parse_target(f"wss://{user_info}@example.com/")

    assert target.authorization == basic(user, password)
    assert target.host == "example.com"


def test_the_rfcs_example_of_basic_authorization() -> None:
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "ws://"),
        ("example.com/s3cr3t", "ws://"),
        ("https://example.com/s3cr3t", "ws://"),
        ("ws:///s3cr3t", "no host"),
        ("ws://example.com:0/?s3cr3t", "port 0"),
        ("ws://example.com:s3cr3t/", "invalid host, port"),
        ("ws://example.com:99999/?s3cr3t", "invalid host, port"),
        ("ws://[s3cr3t]/", "invalid host, port"),
        ("ws://user:s3cr3t@example.com/#", "fragment"),
        ("ws://example.com/?s3cr3t#part", "fragment"),
        ("ws://example.com/?s3cr3t\r\nX: y", "control character"),
        ("ws://example.com/\ts3cr3t", "control character"),
        ("ws://exa\0mple.com/?s3cr3t", "control character"),
        ("ws://example.com/?s3cr3t\ud800", "character"),
        ("ws://" + "ä" * 64 + ".example/?s3cr3t", "valid name"),
        ("ws://exa mple.com/?s3cr3t", "valid name"),
        ("ws://exa<mple.com/?s3cr3t", "valid name"),
    ],
)
def test_an_unusable_url_is_refused_without_being_shown(url: str, told: str) -> None:
    with pytest.raises(UrlFailed) as raised:
        parse_target(url)

    assert told in raised.value.detail
    assert "s3cr3t" not in f"{raised.value} {raised.value!r}"


def test_neither_query_nor_user_info_are_in_a_targets_repr() -> None:
    assert "s3cr3t" not in repr(parse_target("wss://user:s3cr3t@example.com/?token=s3cr3t"))
