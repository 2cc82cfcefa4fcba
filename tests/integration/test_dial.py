"""The dial against silent, slow and absent servers: one deadline over all steps, and a stop that interrupts each of them."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import pytest

from ingest.connection import resolve
from ingest.connection.transport import connect
from ingest.connection.wakeup import Wakeup
from ingest.errors import DialFailed, EndReason, HandshakeRejected, OpenTimedOut, Stopped
from tests.support.connections import ManualClock
from tests.support.dialling import dial_error, dialled, feed_settings, receive_until
from tests.support.echo import websockets_server
from tests.support.raw_server import RawServer, accept_upgrade, read_request, requests_seen
from tests.support.waiting import wait_until

Result = TypeVar("Result")

#: No step of these tests needs as long as that; it is a bound against hanging, not a measure.
SOON = 20.0


@contextmanager
def unaccepted() -> Iterator[int]:
    """The port of a server whose queue of connections is full: further ones are never established."""
    with socket.socket() as listener, ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(16):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            poller = select.poll()
            poller.register(filler, select.POLLOUT)
            if not poller.poll(200):
                break
        else:
            pytest.skip("this system takes connections that nobody accepts")
        yield port


@pytest.fixture
def stalled_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A resolver that does not answer before the test's end; the names that it was asked for."""
    asked: list[str] = []
    release = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *args: object) -> object:
        asked.append(host)
        release.wait(30)
        return real("127.0.0.1", *args)  # type: ignore[arg-type]

    monkeypatch.setattr(resolve.socket, "getaddrinfo", getaddrinfo)
    yield asked
    release.set()
    wait_until(lambda: not resolve._running, 10.0, what="the end of the resolver's threads")


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Have every name resolve to these addresses."""

    def getaddrinfo(host: str, port: int, *args: object) -> list[object]:
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address, _ in addresses]
        return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in zip(families, addresses, strict=True)]

    monkeypatch.setattr(resolve.socket, "getaddrinfo", getaddrinfo)


def timed(call: Callable[[], Result]) -> tuple[Result, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


def timed_out(url: str, seconds: float, clock: Callable[[], float]) -> OpenTimedOut:
    """Return how a dial ends whose deadline is over by this clock."""
    wakeup = Wakeup()
    with pytest.raises(OpenTimedOut) as raised:
        connect(feed_settings(url, open_timeout=seconds), url, {}, wakeup=wakeup, stopping=lambda: False, clock=clock).abort()
    wakeup.close()
    return raised.value


# One deadline


def test_slow_dns_ends_at_the_deadline(stalled_dns: list[str]) -> None:
    error, lasted = timed(lambda: dial_error(OpenTimedOut, "ws://slow.example/", open_timeout=0.3))

    assert error == OpenTimedOut("dns", 0.3)
    assert lasted < SOON


def test_attempts_share_one_abandoned_lookup(stalled_dns: list[str]) -> None:
    for _ in range(5):
        dial_error(OpenTimedOut, "ws://slow.example/", open_timeout=0.05)
        wait_until(lambda: stalled_dns, 10.0, what="the lookup's thread")

    assert stalled_dns == ["slow.example"]


def test_a_silent_address_ends_at_the_deadline() -> None:
    with unaccepted() as port:
        error, lasted = timed(lambda: dial_error(OpenTimedOut, f"ws://127.0.0.1:{port}/", open_timeout=3.5))

    assert error == OpenTimedOut("tcp", 3.5), "what comes before takes no time to speak of"
    assert lasted < SOON


@pytest.mark.parametrize(("scheme", "step"), [("ws", "upgrade"), ("wss", "tls")])
def test_a_server_that_accepts_and_says_nothing_ends_at_the_deadline(scheme: str, step: str) -> None:
    ahead = [0.0]

    def handler(connection: socket.socket) -> None:
        connection.recv(1)  # the step has begun
        ahead[0] = 60.0
        _listen(connection)

    with RawServer(handler) as server:
        error, lasted = timed(
            lambda: timed_out(f"{scheme}://127.0.0.1:{server.port}/", 60.0, lambda: time.monotonic() + ahead[0])
        )

    assert error == OpenTimedOut(step, 60.0)
    assert lasted < SOON


def test_the_steps_share_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    real = socket.getaddrinfo

    def getaddrinfo(*args: object) -> object:
        clock.now += 9.0
        return real(*args)  # type: ignore[arg-type]

    def handler(connection: socket.socket) -> None:
        read_request(connection)
        clock.now += 2.0
        _listen(connection)

    monkeypatch.setattr(resolve.socket, "getaddrinfo", getaddrinfo)
    with RawServer(handler) as server:
        assert timed_out(f"ws://127.0.0.1:{server.port}/", 10.0, clock) == OpenTimedOut("upgrade", 10.0)


# The stop


def stop_during(url: str, underway: Callable[[], bool], *, wake: bool) -> tuple[EndReason, float]:
    """Dial, stop once ``underway()``, and return how the dial ended and how long after the stop."""
    stopping, wakeup = threading.Event(), Wakeup()
    outcome: list[tuple[EndReason, float]] = []

    def dial() -> None:
        try:
            connect(feed_settings(url, open_timeout=60.0), url, {}, wakeup=wakeup, stopping=stopping.is_set).abort()
        except EndReason as reason:
            outcome.append((reason, time.monotonic()))

    thread = threading.Thread(target=dial)
    thread.start()
    try:
        wait_until(underway, 10.0, what="the dial's step")
        stopped = time.monotonic()
        stopping.set()
        if wake:
            wakeup.set()
        thread.join(20)
        assert not thread.is_alive(), "the dial does not notice the stop"
    finally:
        stopping.set()
        thread.join(30)
        wakeup.close()
    reason, ended = outcome[0]
    return reason, ended - stopped


@pytest.mark.parametrize("wake", [True, False])
def test_a_stop_interrupts_dns(stalled_dns: list[str], wake: bool) -> None:
    reason, after = stop_during("ws://slow.example/", lambda: bool(stalled_dns), wake=wake)

    assert reason == Stopped()
    assert after < SOON


@pytest.mark.parametrize("wake", [True, False])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_stop_interrupts_tls_and_the_upgrade(scheme: str, wake: bool) -> None:
    heard = threading.Event()

    def handler(connection: socket.socket) -> None:
        connection.recv(1)
        heard.set()
        _listen(connection)

    with RawServer(handler) as server:
        reason, after = stop_during(f"{scheme}://127.0.0.1:{server.port}/", heard.is_set, wake=wake)

    assert reason == Stopped()
    assert after < SOON


def test_a_stop_before_the_dial_dials_nothing() -> None:
    with requests_seen() as (server, _):
        url, wakeup = f"ws://127.0.0.1:{server.port}/", Wakeup()
        with pytest.raises(Stopped):
            connect(feed_settings(url), url, {}, wakeup=wakeup, stopping=lambda: True)
        wakeup.close()

    assert server.accepted == 0


def test_a_wakeup_that_is_no_stop_is_kept_for_who_waits_next() -> None:
    with requests_seen() as (server, _):
        url, wakeup = f"ws://127.0.0.1:{server.port}/", Wakeup()
        wakeup.set()
        transport = connect(feed_settings(url), url, {}, wakeup=wakeup, stopping=lambda: False)
        received, lasted = timed(lambda: transport.receive(30.0))
        transport.abort()
        wakeup.close()

    assert received == []
    assert lasted < SOON


# Addresses


def test_a_refused_connection_names_address_and_reason() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        port = unused.getsockname()[1]
        error = dial_error(DialFailed, f"ws://127.0.0.1:{port}/?token=secret")

    assert error == DialFailed("tcp", f"127.0.0.1 port {port}: Connection refused")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.256"])
def test_a_name_that_does_not_resolve_is_named(host: str) -> None:
    error = dial_error(DialFailed, f"ws://{host}/")

    assert error.step == "dns"
    assert error.detail.startswith(f"{host}: ")


def test_an_address_that_refuses_or_is_silent_costs_little_when_another_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with unaccepted() as silent, websockets_server() as port, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refusing = unused.getsockname()[1]
        resolving(monkeypatch, ("127.0.0.1", refusing), ("127.0.0.1", silent), ("127.0.0.1", port))
        with dialled("ws://three.example/", open_timeout=30.0) as transport:
            transport.send(["hello"], 5.0)
            assert receive_until(transport, 1) == ["hello"]


def test_when_all_addresses_fail_each_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ("127.0.0.1", 1), ("127.0.0.2", 1))

    error = dial_error(DialFailed, "ws://two.example/")

    assert error == DialFailed("tcp", "127.0.0.1 port 1: Connection refused; 127.0.0.2 port 1: Connection refused")


def test_an_ipv6_literal() -> None:
    requests: list[str] = []
    try:
        ipv6_server = RawServer(lambda connection: requests.append(accept_upgrade(connection)), host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine's loopback")
    with ipv6_server as server, dialled(f"ws://[::1]:{server.port}/"):
        pass

    assert f"Host: [::1]:{server.port}\r\n" in requests[0]


def test_family_and_source_address_choose_the_way() -> None:
    peers: list[str] = []

    def handler(connection: socket.socket) -> None:
        peers.append(connection.getpeername()[0])
        accept_upgrade(connection)

    with RawServer(handler) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        with dialled(url, socket={"family": "ipv4", "source_address": "127.0.0.7"}):
            pass
        wrong_family = dial_error(DialFailed, url, socket={"family": "ipv6"})
        unreachable = dial_error(DialFailed, url, socket={"source_address": "::1"})
        not_ours = dial_error(DialFailed, url, socket={"source_address": "192.0.2.1"})

    assert peers == ["127.0.0.7"]
    assert wrong_family.step == "dns"
    assert "source_address ::1" in unreachable.detail
    assert "Cannot assign requested address" in not_ours.detail


@pytest.mark.parametrize("keepalive", [True, False])
def test_the_socket_has_no_delay_and_keepalive_as_set(keepalive: bool) -> None:
    with websockets_server() as port, dialled(f"ws://127.0.0.1:{port}/", socket={"keepalive": keepalive}) as transport:
        sock = socket.socket(fileno=os.dup(transport._stream.fileno()))
        with sock:
            options = (
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            )

    assert [bool(option) for option in options] == [True, keepalive]


def test_http_proxy_of_the_environment_is_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with websockets_server() as port, dialled(f"ws://127.0.0.1:{port}/"):
        pass


def test_a_failed_dial_leaves_no_connection_open() -> None:
    ended = threading.Event()

    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        _listen(connection)
        ended.set()

    with RawServer(handler) as server:
        dial_error(HandshakeRejected, f"ws://127.0.0.1:{server.port}/")
        wait_until(ended.is_set, 10.0, what="the end of the connection at the server")


def _listen(connection: socket.socket) -> None:
    """Read until the client ends."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
