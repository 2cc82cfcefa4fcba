"""An open connection against real servers: what is received, what is sent, and how it ends."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from ingest.connection.frames import Close, Ping, Pong, Violation
from ingest.connection.transport import CLOSING_BYTES, connect
from ingest.connection.wakeup import Wakeup
from ingest.errors import ConnectionDropped, SendTimedOut
from tests.support.dialling import dialled, feed_settings, readable, receive_until
from tests.support.echo import websockets_server
from tests.support.raw_server import RawServer, accept_upgrade, read_request, switching
from tests.support.waiting import wait_until

SOON = 20.0


def upgraded(then: Callable[[socket.socket], None]) -> RawServer:
    """A server that upgrades, and then does as told."""

    def handler(connection: socket.socket) -> None:
        accept_upgrade(connection)
        then(connection)

    return RawServer(handler)


def url_of(server: RawServer) -> str:
    return f"ws://127.0.0.1:{server.port}/"


def drain(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


# Receiving and sending


@pytest.mark.parametrize("compression", ["none", "deflate"])
def test_text_and_binary_of_every_length_class_come_back_in_order(compression: str) -> None:
    messages: list[str | bytes] = ["", "ä", "x" * 125, "y" * 126, "z" * 65535, "€" * 65536, b"", bytes(range(256)) * 1024]
    with websockets_server() as port, dialled(f"ws://127.0.0.1:{port}/", compression=compression) as transport:
        transport.send(messages, 5.0)

        assert receive_until(transport, len(messages)) == messages
        assert transport.close(1000, "", 5.0)[-1] == Close(1000, "")


def test_one_read_returns_every_frame_that_is_there() -> None:
    def send_at_once(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"\x81\x02hi" * 10_000)
        drain(connection)

    with upgraded(send_at_once) as server, dialled(url_of(server)) as transport:
        transport.send(["go"], 5.0)
        wait_until(lambda: readable(transport) >= 40_000, 10.0, "the arrival of all frames")

        assert transport.receive(0.0) == ["hi"] * 10_000
        assert transport.receive(0.0) == []


def test_pings_and_pongs_go_both_ways() -> None:
    def handler(connection: ServerConnection) -> None:
        answered = connection.ping("server").wait(10)
        connection.send(f"answered: {answered}")
        connection.recv()

    with websockets_server(handler) as port, dialled(f"ws://127.0.0.1:{port}/") as transport:
        assert receive_until(transport, 1) == [Ping(b"server")]
        transport.send([Pong(b"server"), Ping(b"client")], 5.0)
        received = receive_until(transport, 2)

    assert sorted(received, key=str) == [Pong(b"client"), "answered: True"]


def test_frames_of_one_send_leave_in_one_piece() -> None:
    with websockets_server() as port, dialled(f"ws://127.0.0.1:{port}/") as transport:
        transport.send([str(number) for number in range(1000)], 5.0)

        assert receive_until(transport, 1000) == [str(number) for number in range(1000)]


@pytest.mark.parametrize(("frame", "error"), [("\ud800", ValueError), (Ping(b"x" * 126), ValueError), (7, TypeError)])
def test_what_cannot_be_sent_is_refused_before_anything_is(frame: object, error: type[Exception]) -> None:
    with websockets_server() as port, dialled(f"ws://127.0.0.1:{port}/") as transport:
        with pytest.raises(error):
            transport.send(["first", frame], 5.0)  # type: ignore[list-item]
        transport.send(["second"], 5.0)

        assert receive_until(transport, 1) == ["second"]


def test_a_violation_is_received_as_a_value() -> None:
    stream = b"\x81\x02ok\x83\x00\x81\x02no"
    with upgraded(lambda connection: connection.sendall(stream)) as server, dialled(url_of(server)) as transport:
        received = receive_until(transport, 2)

    assert received[0] == "ok"
    assert isinstance(received[1], Violation)
    assert received[1].code == 1002


# Waiting


def test_receive_ends_at_the_timeout_and_at_a_wakeup_which_it_clears() -> None:
    with websockets_server() as port:
        url, wakeup = f"ws://127.0.0.1:{port}/", Wakeup()
        transport = connect(feed_settings(url), url, {}, wakeup=wakeup, stopping=lambda: False)
        try:
            for read in (True, False):
                assert transport.receive(0.01, read=read) == []
                waker = threading.Timer(0.05, wakeup.set)
                waker.start()
                began = time.monotonic()
                assert transport.receive(30.0, read=read) == []
                assert time.monotonic() - began < SOON
                waker.join()
                began = time.monotonic()
                assert transport.receive(0.05, read=read) == []
                assert time.monotonic() - began >= 0.04
        finally:
            transport.abort()
            wakeup.close()


def test_without_reading_the_socket_is_left_alone_even_when_it_has_ended() -> None:
    with upgraded(lambda connection: connection.sendall(b"\x81\x02hi")) as server, dialled(url_of(server)) as transport:
        assert transport.receive(0.1, read=False) == []
        assert transport.receive(0.1, read=False) == []

        assert receive_until(transport, 1) == ["hi"]
        with pytest.raises(ConnectionDropped):
            receive_until(transport, 1)


def test_descriptors_beyond_1024_work() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip("this system allows fewer descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    fillers: list[socket.socket] = []
    try:
        with websockets_server() as port:
            while not fillers or fillers[-1].fileno() <= 1024:
                fillers.append(socket.socket())
            with dialled(f"ws://127.0.0.1:{port}/") as transport:
                assert transport._stream.fileno() > 1024
                transport.send(["high"], 5.0)
                assert receive_until(transport, 1) == ["high"]
    finally:
        for filler in fillers:
            filler.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Endings


def test_what_came_before_the_end_is_received_before_the_end_is_told() -> None:
    stream = b"\x81\x03one\x81\x03two\x81\x05th"
    with upgraded(lambda connection: connection.sendall(stream)) as server, dialled(url_of(server)) as transport:
        wait_until(lambda: server._connections[0].fileno() < 0, 10.0, "the server's end of the stream")
        assert receive_until(transport, 2) == ["one", "two"]
        for _ in range(2):
            with pytest.raises(ConnectionDropped, match="the peer ended the stream"):
                receive_until(transport, 1)


def test_a_reset_is_a_drop() -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with upgraded(reset) as server, dialled(url_of(server)) as transport:
        with pytest.raises(ConnectionDropped, match="reset"):
            receive_until(transport, 1)
        with pytest.raises(ConnectionDropped):
            transport.send(["x" * 1000] * 100, 5.0)


def test_a_server_that_takes_nothing_times_a_send_out_and_does_not_hang_the_close() -> None:
    with upgraded(lambda connection: server.closing.wait(30) and None) as server, dialled(url_of(server)) as transport:
        with pytest.raises(SendTimedOut) as raised:
            transport.send([b"x" * 1024 * 1024] * 32, 0.3)
        began = time.monotonic()
        assert transport.close(1001, "bye", 0.3) == []
        assert time.monotonic() - began < SOON

    assert raised.value == SendTimedOut(0.3)


def test_a_server_that_floods_does_not_block_a_send() -> None:
    def flood(connection: socket.socket) -> None:
        reader = threading.Thread(target=_swallow, args=(connection,))
        reader.start()
        try:
            while not server.closing.is_set():
                connection.sendall(b"\x82\x7e\x10\x00" + bytes(4096))
        finally:
            reader.join(10)

    with upgraded(flood) as server, dialled(url_of(server)) as transport:
        transport.send([b"x" * 1024 * 1024] * 8, 20.0)
        transport.abort()


def _swallow(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        drain(connection)


# Closing


def test_close_says_code_and_reason_and_returns_what_came_before_the_answer() -> None:
    closed: list[ConnectionClosed] = []

    def handler(connection: ServerConnection) -> None:
        connection.send("last words")
        try:
            connection.recv()
        except ConnectionClosed as error:
            closed.append(error)

    with websockets_server(handler) as port, dialled(f"ws://127.0.0.1:{port}/") as transport:
        wait_until(lambda: transport.bytes_received or readable(transport), 10.0, "the arrival of the last words")
        received = transport.close(1001, "é" * 100, 5.0)
        with pytest.raises(ConnectionDropped, match="closed by us"):
            transport.receive(0.0)
        assert transport.close(1001, "again", 5.0) == []
        transport.abort()
        wait_until(lambda: closed, 10.0, "the close at the server")

    assert received == ["last words", Close(1001, "é" * 61)]
    assert closed[0].rcvd is not None
    assert (closed[0].rcvd.code, closed[0].rcvd.reason) == (1001, "é" * 61)


def test_a_close_by_the_server_is_answered() -> None:
    answers: list[int | None] = []

    def handler(connection: ServerConnection) -> None:
        connection.close(4001, "go away")
        answers.append(connection.close_code)

    with websockets_server(handler) as port, dialled(f"ws://127.0.0.1:{port}/") as transport:
        assert receive_until(transport, 1) == [Close(4001, "go away")]
        assert transport.close(4001, "", 5.0) == []
        wait_until(lambda: answers, 10.0, "the answer at the server")

    assert answers == [4001]


@pytest.mark.parametrize("code", [1005, 1006])
def test_a_code_that_must_not_be_sent_leaves_as_an_empty_close(code: int) -> None:
    with websockets_server() as port, dialled(f"ws://127.0.0.1:{port}/") as transport:
        assert transport.close(code, "", 5.0) == [Close(1005, "")]


def test_close_does_not_wait_longer_than_its_timeout() -> None:
    with upgraded(drain) as server, dialled(url_of(server)) as transport:
        began = time.monotonic()
        assert transport.close(1000, "", 0.2) == []
        assert time.monotonic() - began < SOON


def test_close_after_a_violation_reaches_a_server_that_is_still_sending() -> None:
    heard = b""

    def send_on(connection: socket.socket) -> None:
        nonlocal heard
        connection.sendall(b"\x82\x7f" + (2**40).to_bytes(8) + bytes(16 * 1024 * 1024))
        heard = connection.recv(100)

    with upgraded(send_on) as server, dialled(url_of(server)) as transport:
        (violation,) = receive_until(transport, 1)
        assert isinstance(violation, Violation)
        transport.close(violation.code, violation.detail, 20.0)
        wait_until(lambda: heard, 10.0, "our close frame at the server")

    assert violation.code == 1009
    assert heard[0] == 0x88


def test_close_takes_in_a_bounded_amount() -> None:
    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall((b"\x82\x7e\x10\x00" + bytes(4096)) * 64)

    with upgraded(flood) as server, dialled(url_of(server)) as transport:
        received = transport.close(1000, "", 60.0)

    assert all(frame == bytes(4096) for frame in received)
    assert CLOSING_BYTES <= transport.bytes_received <= CLOSING_BYTES + 512 * 1024


def test_frames_of_the_upgrades_own_read_are_not_lost_by_an_immediate_close() -> None:
    def handler(connection: socket.socket) -> None:
        connection.sendall(switching(read_request(connection)) + b"\x81\x05early")

    with RawServer(handler) as server, dialled(url_of(server)) as transport:
        wait_until(lambda: server._connections[0].fileno() < 0, 10.0, "the server's end of the stream")
        assert transport.close(1000, "", 5.0) == ["early"]


def test_abort_resets_the_connection() -> None:
    ended: list[BaseException | bytes] = []

    def listen(connection: socket.socket) -> None:
        try:
            ended.append(connection.recv(100))
        except ConnectionError as error:
            ended.append(error)

    with upgraded(listen) as server, dialled(url_of(server)) as transport:
        transport.abort()
        transport.abort()
        wait_until(lambda: ended, 10.0, "the end at the server")
        with pytest.raises(ConnectionDropped):
            transport.send(["too late"], 1.0)

    assert isinstance(ended[0], ConnectionResetError)
