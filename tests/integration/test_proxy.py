"""Proxies: CONNECT over HTTP and HTTPS, SOCKS 4, 4a, 5 and 5h, their refusals, and what they never make known."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from ingest.connection import resolve
from ingest.errors import DialFailed, HandshakeRejected, OpenTimedOut
from tests.support.dialling import dial_error, dialled, receive_until
from tests.support.echo import websockets_server
from tests.support.proxies import ConnectProxy, SocksProxy
from tests.support.raw_server import RawServer, dribble, read_request
from tests.support.tls import Authority

PASSWORD = "s3cr3t pässword"
QUOTED = "s3cr3t%20p%C3%A4ssword"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def port() -> Iterator[int]:
    with websockets_server() as port:
        yield port


def echoes(url: str, **settings: object) -> bool:
    with dialled(url, **settings) as transport:
        transport.send(["hello"], 5.0)
        return receive_until(transport, 1) == ["hello"]


# CONNECT


def test_connect_makes_the_tunnel_for_ws_and_names_the_host_to_the_proxy(port: int) -> None:
    with ConnectProxy() as proxy:
        assert echoes(f"ws://localhost:{port}/", proxy=f"http://127.0.0.1:{proxy.port}")

    assert proxy.targets == [f"localhost:{port}"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_tls_goes_through_the_tunnel_of_a_plain_or_tls_proxy(authority: Authority, scheme: str) -> None:
    context = authority.server_context("localhost")
    with (
        websockets_server(ssl=context) as port,
        ConnectProxy(context=context if scheme == "https" else None) as proxy,
    ):
        url, settings = f"wss://localhost:{port}/", {"ca_file": authority.ca_file}
        assert echoes(url, proxy=f"{scheme}://localhost:{proxy.port}", tls=settings)

    assert proxy.targets == [f"localhost:{port}"]


def test_a_proxys_certificate_is_verified(authority: Authority, port: int) -> None:
    with ConnectProxy(context=authority.server_context("example.com")) as proxy:
        url, settings = f"ws://localhost:{port}/", {"ca_file": authority.ca_file}
        error = dial_error(DialFailed, url, proxy=f"https://localhost:{proxy.port}", tls=settings)

    assert error.step == "tls"
    assert proxy.targets == []


def test_credentials_are_given_to_the_proxy_and_not_to_the_server() -> None:
    requests: list[str] = []

    def handler(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with RawServer(handler) as server, ConnectProxy(credentials=f"user:{PASSWORD}") as proxy:
        dial_error(HandshakeRejected, f"ws://127.0.0.1:{server.port}/", proxy=f"http://user:{QUOTED}@127.0.0.1:{proxy.port}")

    assert "roxy" not in requests[0]


def test_a_proxy_that_refuses_is_named_without_its_credentials(port: int) -> None:
    with ConnectProxy(credentials="user:other") as proxy:
        error = dial_error(DialFailed, f"ws://127.0.0.1:{port}/", proxy=f"http://user:{QUOTED}@127.0.0.1:{proxy.port}")

    assert error == DialFailed("proxy", f"http://127.0.0.1:{proxy.port} answered CONNECT with status 407")


@pytest.mark.parametrize("pieces", [2, 60])
def test_an_answer_in_pieces_is_an_answer(port: int, pieces: int) -> None:
    with ConnectProxy(pieces=pieces) as proxy:
        assert echoes(f"ws://127.0.0.1:{port}/", proxy=f"http://127.0.0.1:{proxy.port}")


def test_a_dribbled_answer_ends_at_the_deadline() -> None:
    def handler(connection: socket.socket) -> None:
        read_request(connection)
        dribble(connection, b"HTTP/1.1 200 Connection established\r\n\r\n", proxy.closing)

    with RawServer(handler) as proxy:
        error = dial_error(OpenTimedOut, "ws://a.example/", proxy=f"http://127.0.0.1:{proxy.port}", open_timeout=1.0)

    assert error == OpenTimedOut("proxy", 1.0)


def answering(data: Callable[[], bytes]) -> RawServer:
    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(data())
        proxy.closing.wait(0.5)

    proxy = RawServer(handler)
    return proxy


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "longer than 65536 bytes"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP/1.1 answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nfirst word", "sent more than its answer"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "status 403"),
    ],
)
def test_a_proxy_that_answers_wrongly_fails_the_step(data: bytes, told: str) -> None:
    with answering(lambda: data) as proxy:
        error = dial_error(DialFailed, "ws://a.example/?token=secret", proxy=f"http://127.0.0.1:{proxy.port}")

    assert error.step == "proxy"
    assert told in error.detail
    assert f"http://127.0.0.1:{proxy.port}" in error.detail


def test_a_proxy_that_hangs_up_fails_the_step() -> None:
    with RawServer(lambda connection: read_request(connection) and None) as proxy:
        error = dial_error(DialFailed, "ws://a.example/", proxy=f"http://127.0.0.1:{proxy.port}")

    assert error == DialFailed("proxy", "the peer ended the stream")


# SOCKS


@pytest.mark.parametrize(
    ("scheme", "version", "host"),
    [("socks4", 4, "127.0.0.1"), ("socks4a", 4, "localhost"), ("socks5", 5, "127.0.0.1"), ("socks5h", 5, "localhost")],
)
def test_socks_resolves_names_on_the_side_that_the_scheme_says(port: int, scheme: str, version: int, host: str) -> None:
    with SocksProxy() as proxy:
        url = f"ws://localhost:{port}/"
        assert echoes(url, proxy=f"{scheme}://127.0.0.1:{proxy.port}", socket={"family": "ipv4"})

    assert proxy.requests == [(version, host, port)]


def test_tls_goes_through_socks(authority: Authority) -> None:
    with websockets_server(ssl=authority.server_context("localhost")) as port, SocksProxy() as proxy:
        url, settings = f"wss://localhost:{port}/", {"ca_file": authority.ca_file}
        assert echoes(url, proxy=f"socks5h://127.0.0.1:{proxy.port}", tls=settings)


def test_socks_credentials(port: int) -> None:
    url = f"ws://127.0.0.1:{port}/"
    with SocksProxy(credentials="user:secret") as proxy:
        assert echoes(url, proxy=f"socks5://user:secret@127.0.0.1:{proxy.port}")
        wrong = dial_error(DialFailed, url, proxy=f"socks5://user:s3cr3t@127.0.0.1:{proxy.port}")
        missing = dial_error(DialFailed, url, proxy=f"socks5://127.0.0.1:{proxy.port}")

    assert wrong.step == missing.step == "proxy"
    assert "authentication failure" in wrong.detail
    assert "s3cr3t" not in f"{wrong} {wrong!r}"
    assert wrong.detail.startswith(f"socks5://127.0.0.1:{proxy.port}: ")


def test_a_socks_refusal_is_told_in_words(port: int) -> None:
    with SocksProxy(refuse=5) as proxy:
        error = dial_error(DialFailed, f"ws://127.0.0.1:{port}/", proxy=f"socks5://127.0.0.1:{proxy.port}")

    assert error == DialFailed("proxy", f"socks5://127.0.0.1:{proxy.port}: Connection refused by destination host")


def test_a_proxy_that_is_not_there_is_told_as_such(port: int) -> None:
    # A port that is bound and on which nobody listens refuses, and nobody else gets it meanwhile.
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        number = unheard.getsockname()[1]
        error = dial_error(DialFailed, f"ws://127.0.0.1:{port}/", proxy=f"http://127.0.0.1:{number}")

    assert error == DialFailed("tcp", f"127.0.0.1 port {number}: Connection refused (the proxy)")


@pytest.mark.parametrize("data", [b"\x05", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\x00\x05\x00\x00\x03\x02\xff\xff\x00\x00"])
def test_what_is_no_socks_fails_the_step(data: bytes) -> None:
    def handler(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(data)
        with suppress(OSError):  # the client may have left by now
            connection.shutdown(socket.SHUT_WR)
        proxy.closing.wait(0.5)

    with RawServer(handler) as proxy:
        error = dial_error(DialFailed, "ws://a.example/", proxy=f"socks5h://127.0.0.1:{proxy.port}")

    assert error.step == "proxy"


def test_a_silent_socks_proxy_ends_at_the_deadline() -> None:
    with RawServer(lambda connection: proxy.closing.wait(30) and None) as proxy:
        error = dial_error(OpenTimedOut, "ws://a.example/", proxy=f"socks5h://127.0.0.1:{proxy.port}", open_timeout=1.0)

    assert error == OpenTimedOut("proxy", 1.0)


def test_slow_dns_for_socks_5_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *args: object) -> object:
        if host == "slow.example":
            proxy.closing.wait(30)
            host = "127.0.0.1"
        return real(host, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(resolve.socket, "getaddrinfo", getaddrinfo)
    with SocksProxy() as proxy:
        error = dial_error(OpenTimedOut, "ws://slow.example/", proxy=f"socks5://127.0.0.1:{proxy.port}", open_timeout=1.0)

    assert error == OpenTimedOut("dns", 1.0)


# The environment


def test_the_environment_is_asked_only_where_the_feed_says_so(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"ws://127.0.0.1:{port}/"
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ConnectProxy() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        assert echoes(url)
        assert proxy.targets == []
        assert echoes(url, proxy="environment")
        assert proxy.targets == [f"127.0.0.1:{port}"]
        monkeypatch.setenv("no_proxy", "example.com,127.0.0.1")
        assert echoes(url, proxy="environment")

    assert len(proxy.targets) == 1
