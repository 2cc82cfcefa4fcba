"""The upgrade request: what is sent, what is never sent, and what is refused before anything is sent."""

from __future__ import annotations

import pytest

from ingest.errors import HeadersFailed
from tests.support.dialling import dial_error, dialled
from tests.support.raw_server import requests_seen

SECRET = "s3cr3t-token"


def test_the_request_is_the_urls_path_and_query_and_the_feeds_headers() -> None:
    with requests_seen() as (server, requests):
        url = f"ws://localhost:{server.port}/v1;room=7/a b;depth=10?stream=trades&x=ä;y"
        with dialled(url, {"X-Key": "ünïcode", "User-Agent": "mine"}):
            pass

    lines = requests[0].split("\r\n")
    assert lines[0] == "GET /v1;room=7/a%20b;depth=10?stream=trades&x=%C3%A4;y HTTP/1.1"
    assert f"Host: localhost:{server.port}" in lines
    assert {"X-Key: ünïcode", "User-Agent: mine", "Upgrade: websocket", "Connection: Upgrade"} <= set(lines)
    assert "Sec-WebSocket-Version: 13" in lines
    assert sum(line.lower().startswith("sec-websocket-key:") for line in lines) == 1


def test_origin_is_sent_only_where_it_is_set() -> None:
    with requests_seen() as (server, requests):
        url = f"ws://127.0.0.1:{server.port}/"
        with dialled(url):
            pass
        with dialled(url, origin="https://example.com"):
            pass

    assert "origin:" not in requests[0].lower()
    assert "Origin: https://example.com\r\n" in requests[1]


def test_user_info_becomes_basic_authorization_unless_a_header_says_otherwise() -> None:
    with requests_seen() as (server, requests):
        url = f"ws://user:p%40ss@127.0.0.1:{server.port}/"
        with dialled(url):
            pass
        with dialled(url, {"authorization": "Bearer mine"}):
            pass

    assert "Authorization: Basic dXNlcjpwQHNz\r\n" in requests[0]
    assert [line for line in requests[1].split("\r\n") if line.lower().startswith("authorization")] == [
        "authorization: Bearer mine"
    ]
    assert "user" not in requests[0].split("\r\n")[0]


def test_cookies_of_a_server_do_not_come_back_to_any_server() -> None:
    with requests_seen("Set-Cookie: id=1; Domain=localhost") as (server, requests):
        url = f"ws://localhost:{server.port}/"
        with dialled(url):
            pass
        with dialled(url):
            pass

    assert [line for request in requests for line in request.split("\r\n") if line.lower().startswith("cookie")] == []


def test_cookies_of_another_user_of_the_library_are_not_sent() -> None:
    from websocket._handshake import CookieJar

    CookieJar.add("id=1; Domain=localhost")
    with requests_seen() as (server, requests), dialled(f"ws://localhost:{server.port}/"):
        pass

    assert "cookie" not in requests[0].lower()


@pytest.mark.parametrize("name", ["Host", "Upgrade", "connection", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "X\r\nY", ""])
def test_reserved_and_malformed_headers_are_refused_before_anything_is_sent(name: str) -> None:
    with requests_seen() as (server, _):
        error = dial_error(HeadersFailed, f"ws://127.0.0.1:{server.port}/", {name: SECRET})

    assert server.accepted == 0
    assert SECRET not in f"{error} {error!r}"


@pytest.mark.parametrize("value", [f"{SECRET}\r\nX-Evil: 1", f"{SECRET}\n", f"{SECRET}\0", f"{SECRET}☃"])
def test_a_header_value_cannot_become_another_header(value: str) -> None:
    with requests_seen() as (server, _):
        error = dial_error(HeadersFailed, f"ws://127.0.0.1:{server.port}/", {"X-Key": value})

    assert server.accepted == 0
    assert "X-Key" in str(error)
    assert SECRET not in f"{error} {error!r}"
