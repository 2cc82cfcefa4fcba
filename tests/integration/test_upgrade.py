"""The upgrade against servers that answer it wrongly, too slowly, or with more than was asked for."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web

from ingest.errors import DialFailed, HandshakeInvalid, HandshakeRejected, OpenTimedOut
from tests.support.dialling import dial_error, dialled, receive_until
from tests.support.raw_server import RawServer, accept_key, accept_upgrade, dribble, read_request, requests_seen, switching

SECRET = "s3cr3t-token"


def answering(*lines: str, body: bytes = b"") -> RawServer:
    """A server that answers every upgrade with these lines and this body."""

    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return RawServer(handler)


def rejection(*lines: str, body: bytes = b"") -> HandshakeRejected:
    with answering(*lines, body=body) as server:
        return dial_error(HandshakeRejected, f"ws://127.0.0.1:{server.port}/")


def test_a_dribbled_answer_ends_at_the_deadline() -> None:
    def handler(connection: socket.socket) -> None:
        dribble(connection, switching(read_request(connection)), server.closing)

    with RawServer(handler) as server:
        began = time.monotonic()
        error = dial_error(OpenTimedOut, f"ws://127.0.0.1:{server.port}/", open_timeout=1.0)
        lasted = time.monotonic() - began

    assert error == OpenTimedOut("upgrade", 1.0)
    assert lasted < 10  # all of it would take 12


def test_a_dribbled_answer_that_makes_it_is_an_answer() -> None:
    def handler(connection: socket.socket) -> None:
        dribble(connection, switching(read_request(connection)) + b"\x81\x02hi", server.closing, pause=0.001)
        server.closing.wait(30)

    with RawServer(handler) as server, dialled(f"ws://127.0.0.1:{server.port}/") as transport:
        assert receive_until(transport, 1) == ["hi"]


def test_an_endless_header_line_is_cut_at_64_kib() -> None:
    sent = 0

    def handler(connection: socket.socket) -> None:
        nonlocal sent
        read_request(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nX-Endless: ")
        while True:
            sent += connection.send(b"x" * 65536)

    with RawServer(handler) as server:
        tracemalloc.start()
        try:
            error = dial_error(HandshakeInvalid, f"ws://127.0.0.1:{server.port}/")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert "longer than 65536 bytes" in str(error)
    assert peak < 4 * 1024 * 1024
    assert sent < 64 * 1024 * 1024  # what the system's buffers took, not what the server had to give


def test_of_a_huge_error_page_4_kib_are_kept_and_the_rest_is_not_read() -> None:
    size, sent = 200 * 1024 * 1024, 0

    def handler(connection: socket.socket) -> None:
        nonlocal sent
        read_request(connection)
        connection.sendall(f"HTTP/1.1 403 Forbidden\r\nContent-Length: {size}\r\n\r\n".encode())
        while sent < size:
            sent += connection.send(b"x" * 65536)

    with RawServer(handler) as server:
        error = dial_error(HandshakeRejected, f"ws://127.0.0.1:{server.port}/")

    assert (error.status, error.body) == (403, b"x" * 4096)
    assert sent < size / 2


def test_a_refusal_whose_body_never_comes_is_a_refusal_all_the_same() -> None:
    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nhalf")
        server.closing.wait(30)

    with RawServer(handler) as server:
        error = dial_error(HandshakeRejected, f"ws://127.0.0.1:{server.port}/", open_timeout=1.5)

    assert (error.status, error.body) == (503, b"half")


def test_retry_after_comes_along() -> None:
    error = rejection("HTTP/1.1 429 Slow down", "Retry-After: 7", "Content-Length: 4", body=b"wait")

    assert (error.status, error.retry_after, error.body) == (429, 7.0, b"wait")
    assert error.headers["retry-after"] == "7"


def test_a_chunked_body_loses_its_framing() -> None:
    error = rejection("HTTP/1.1 401 No", "Transfer-Encoding: chunked", body=b"3\r\nnot\r\n4\r\n you\r\n0\r\n\r\n")

    assert error.body == b"not you"


def test_a_refusal_by_aiohttp_keeps_status_and_text() -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=401, text="key expired", headers={"X-Reason": "key"})

    with aiohttp_server(refuse) as port:
        error = dial_error(HandshakeRejected, f"ws://127.0.0.1:{port}/feed")

    assert (error.status, error.body, error.headers["x-reason"]) == (401, b"key expired", "key")


def test_aiohttp_agrees_on_subprotocol_and_compression() -> None:
    async def greet(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(protocols=("v2", "v1"))
        await response.prepare(request)
        await response.send_str("hello " * 100)
        await response.receive()
        return response

    with (
        aiohttp_server(greet) as port,
        dialled(f"ws://127.0.0.1:{port}/feed", subprotocols=("v3", "v2"), compression="deflate") as transport,
    ):
        assert transport.subprotocol == "v2"
        assert "permessage-deflate" in transport.response_headers["sec-websocket-extensions"]
        assert receive_until(transport, 1) == ["hello " * 100]
        assert transport.bytes_received < 100
        transport.close(1000, "", 5.0)


@contextmanager
def aiohttp_server(handler: object) -> Iterator[int]:
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/feed", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield runner.addresses[0][1]
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_a_redirect_is_not_followed_and_its_headers_do_not_leak() -> None:
    with requests_seen() as (elsewhere, requests):
        location = f"http://user:{SECRET}@127.0.0.1:{elsewhere.port}/other?token={SECRET}"
        with answering("HTTP/1.1 302 Found", f"Location: {location}", "Content-Length: 0") as server:
            error = dial_error(HandshakeRejected, f"ws://127.0.0.1:{server.port}/?token={SECRET}", {"Authorization": SECRET})

    assert error.status == 302
    assert elsewhere.accepted == 0
    assert requests == []
    assert f"http://127.0.0.1:{elsewhere.port}/other" in str(error)
    assert SECRET not in f"{error} {error!r}"


def test_interim_answers_are_not_the_answer() -> None:
    def handler(connection: socket.socket) -> None:
        request = read_request(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + switching(request))
        server.closing.wait(30)

    with RawServer(handler) as server, dialled(f"ws://127.0.0.1:{server.port}/") as transport:
        assert transport.response_headers["upgrade"] == "websocket"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["Sec-WebSocket-Extensions: permessage-deflate"], "extension"),
        (["Sec-WebSocket-Protocol: v9"], "subprotocol"),
    ],
)
def test_what_was_not_offered_may_not_be_chosen(more: list[str], told: str) -> None:
    with requests_seen(*more) as (server, _):
        error = dial_error(HandshakeInvalid, f"ws://127.0.0.1:{server.port}/")

    assert told in str(error)


def test_a_subprotocol_is_compared_exactly_and_may_be_left_out() -> None:
    with requests_seen("Sec-WebSocket-Protocol: V2") as (server, _):
        error = dial_error(HandshakeInvalid, f"ws://127.0.0.1:{server.port}/", subprotocols=("v2",))
    with requests_seen() as (server, requests), dialled(f"ws://127.0.0.1:{server.port}/", subprotocols=("v2", "v1")) as transport:
        assert transport.subprotocol is None

    assert "'V2'" in str(error)
    assert "Sec-WebSocket-Protocol: v2, v1\r\n" in requests[0]


def test_an_extension_with_parameters_of_its_own_is_refused() -> None:
    with requests_seen("Sec-WebSocket-Extensions: permessage-deflate; x=1") as (server, _):
        error = dial_error(HandshakeInvalid, f"ws://127.0.0.1:{server.port}/", compression="deflate")

    assert "no parameter 'x'" in str(error)


def answered_with(*lines: str) -> HandshakeInvalid:
    """What becomes of a 101 with these lines; ``KEY`` stands for the right accept key."""

    def handler(connection: socket.socket) -> None:
        key = accept_key(read_request(connection))
        text = "\r\n".join([*lines, "", ""]).replace("KEY", key).replace("WRONG-CASE", key.swapcase())
        connection.sendall(text.encode("latin-1"))

    with RawServer(handler) as server:
        return dial_error(HandshakeInvalid, f"ws://127.0.0.1:{server.port}/?token={SECRET}")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["Upgrade: websocket", "Connection: Upgrade"], "Accept"),
        (["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: WRONG-CASE"], "Accept"),
        (["Upgrade: websocket", "Connection: Upgrade", *["Sec-WebSocket-Accept: KEY"] * 2], "Accept"),
        (["Upgrade: h2c", "Connection: Upgrade", "Sec-WebSocket-Accept: KEY"], "Upgrade"),
        (["Upgrade: websocket", "Connection: close", "Sec-WebSocket-Accept: KEY"], "Connection"),
        (["no header at all"], "malformed header line"),
    ],
)
def test_a_101_that_does_not_answer_is_invalid(lines: list[str], told: str) -> None:
    error = answered_with("HTTP/1.1 101 Switching Protocols", *lines)

    assert told in str(error)


def test_what_is_no_http_is_invalid_and_is_not_quoted() -> None:
    def echo(connection: socket.socket) -> None:
        connection.sendall(read_request(connection).encode("latin-1"))  # an echo service: it sends our own secrets

    with RawServer(echo) as server:
        error = dial_error(HandshakeInvalid, f"ws://127.0.0.1:{server.port}/?token={SECRET}", {"Authorization": SECRET})

    assert "not an HTTP/1.1 answer" in str(error)
    assert SECRET not in f"{error} {error!r}"


def test_a_server_that_hangs_up_instead_of_answering() -> None:
    with RawServer(lambda connection: read_request(connection) and None) as server:
        error = dial_error(DialFailed, f"ws://127.0.0.1:{server.port}/")

    assert error == DialFailed("upgrade", "the peer ended the stream")


def test_frames_that_come_with_the_answer_are_received_first() -> None:
    received = threading.Event()

    def handler(connection: socket.socket) -> None:
        connection.sendall(switching(read_request(connection)) + b"\x81\x03one\x81\x03two\x81\x05th")
        assert received.wait(30)
        connection.sendall(b"ree\x88\x00")
        server.closing.wait(30)

    with RawServer(handler) as server, dialled(f"ws://127.0.0.1:{server.port}/") as transport:
        assert transport.receive(0.0) == ["one", "two"]
        received.set()
        assert receive_until(transport, 1)[0] == "three"


def test_the_answers_headers_are_given_in_lower_case() -> None:
    def handler(connection: socket.socket) -> None:
        accept_upgrade(connection, "X-Region: eu", "X-Region: west")
        server.closing.wait(30)

    with RawServer(handler) as server, dialled(f"ws://127.0.0.1:{server.port}/") as transport:
        assert transport.response_headers["x-region"] == "eu, west"
