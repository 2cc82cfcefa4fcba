"""The scripted server against the `websockets` client and bare sockets: what scripts do, and how their failures surface."""

import http
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest
import trustme
from websockets.exceptions import ConnectionClosed, InvalidHeader, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from ingest.testing import Script, ScriptedConnection, ScriptedServer


def dial(server: ScriptedServer, path: str = "", **options: object) -> ClientConnection:
    return connect(server.url + path, compression=None, proxy=None, **options)  # type: ignore[arg-type]


def test_a_server_without_a_script_accepts_and_records():
    with ScriptedServer() as server:
        with dial(server, "stream?x=1", additional_headers={"X-Key": "k"}) as client:
            client.send("hello")
            client.send(b"\x00\x01")
            client.ping(b"p")
        server.wait_until(lambda: server.recordings[0].left, "the client left")
    (recording,) = server.recordings
    assert recording.path == "/stream?x=1"
    assert recording.headers["x-key"] == "k"
    assert recording.messages == ["hello", b"\x00\x01"]
    assert recording.texts == ["hello"]
    assert [frame.kind for frame in recording.frames] == ["text", "binary", "ping", "close"]
    assert recording.close_code == 1000
    assert [frame.at for frame in recording.frames] == sorted(frame.at for frame in recording.frames)


def test_a_script_expects_and_sends_in_turn():
    def script(client: ScriptedConnection) -> None:
        client.expect({"op": "subscribe"})
        client.send("text", b"binary", {"n": 1}, [2])
        assert client.expect(lambda text: "bye" in text) == "bye now"

    with ScriptedServer(script) as server, dial(server) as client:
        client.send('{"op": "subscribe"}')
        assert [client.recv(timeout=5) for _ in range(4)] == ["text", b"binary", '{"n": 1}', "[2]"]
        client.send("bye now")


def test_an_unfulfilled_expectation_fails_the_test_at_its_end():
    def play(server: ScriptedServer) -> None:
        with dial(server) as client:
            client.send("other")
            until_closed(client)

    failure = failure_of(lambda client: client.expect("hello"), play)
    assert str(failure) == "script of connection 1: expected 'hello', got 'other'"


def test_an_expectation_of_a_client_that_left_fails():
    failure = failure_of(lambda client: client.expect("more"), come_and_go)
    assert "expected 'more', but the client left (close code 1000)" in str(failure)


def test_an_expectation_has_a_deadline():
    def play(server: ScriptedServer) -> None:
        with dial(server) as client:
            until_closed(client)

    failure = failure_of(lambda client: client.expect_ping(timeout=0.2), play)
    assert "expected a ping, but nothing came for 0.2 s" in str(failure)


def test_an_expectation_that_is_open_at_the_end_fails():
    clients: list[socket.socket] = []

    def play(server: ScriptedServer) -> None:
        clients.append(bare(server))
        server.wait_for_connections(1)

    failure = failure_of(lambda client: client.expect(lambda text: True), play)
    clients[0].close()
    assert "still expecting a message that satisfies <lambda> when the server was stopped" in str(failure)


def test_what_the_test_itself_raised_comes_first():
    server = ScriptedServer(lambda client: client.expect("hello"))
    server.__enter__()
    with dial(server) as client:
        client.send("other")
        until_closed(client)
    error = KeyError("mine")
    server.__exit__(KeyError, error, None)  # raises nothing of its own
    assert "got 'other'" in error.__notes__[0]


def test_any_error_of_a_script_fails_the_test():
    def script(client: ScriptedConnection) -> None:
        raise FileNotFoundError("no such fixture")

    def play(server: ScriptedServer) -> None:
        bare(server).close()
        server.wait_until(lambda: server.recordings and server.recordings[0].path, "the request")

    failure = failure_of(script, play)
    assert "no such fixture" in str(failure)
    assert isinstance(failure.__cause__, FileNotFoundError)


def test_every_connection_has_its_own_script_and_the_last_repeats():
    with ScriptedServer(lambda client: client.send("first"), lambda client: client.send("other")) as server:
        for expected in ("first", "other", "other"):
            with dial(server) as client:
                assert client.recv(timeout=5) == expected
        server.wait_for_connections(3)


def test_connections_beyond_the_scripts_are_refused_if_asked():
    with ScriptedServer(lambda client: client.send("only"), then="refuse") as server:
        come_and_go(server)
        with pytest.raises(InvalidStatus) as refusal:
            come_and_go(server)
    assert refusal.value.response.status_code == http.HTTPStatus.SERVICE_UNAVAILABLE


def test_refuse_sends_status_headers_and_body():
    script = lambda client: client.refuse(429, {"Retry-After": "7"}, "slow down")  # noqa: E731
    with ScriptedServer(script) as server, pytest.raises(InvalidStatus) as refusal:
        come_and_go(server)
    response = refusal.value.response
    assert (response.status_code, response.headers["Retry-After"], response.body) == (429, "7", b"slow down")


def test_accept_negotiates_what_it_is_told():
    def script(client: ScriptedConnection) -> None:
        client.accept(headers={"X-Region": "eu"}, subprotocol="v2", compression=True)
        for message in client.messages():
            client.send(message)

    with ScriptedServer(script) as server, connect(server.url, subprotocols=["v1", "v2"], proxy=None) as client:  # type: ignore[list-item]
        assert client.subprotocol == "v2"
        assert client.response is not None
        assert client.response.headers["X-Region"] == "eu"
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        client.send("echo" * 100)
        assert client.recv(timeout=5) == "echo" * 100


def test_a_header_of_the_script_replaces_ours():
    script = lambda client: client.accept(headers={"Sec-WebSocket-Accept": "a lie"})  # noqa: E731
    with ScriptedServer(script) as server, pytest.raises(InvalidHeader, match="Sec-WebSocket-Accept"):
        come_and_go(server)


def test_the_upgrade_can_be_dribbled():
    def script(client: ScriptedConnection) -> None:
        client.send_raw(client.upgrade_response(), every=0.0001)
        client.send("open")

    with ScriptedServer(script) as server, dial(server) as client:
        assert client.recv(timeout=5) == "open"


def test_fragments_make_one_message():
    def script(client: ScriptedConnection) -> None:
        client.send_fragments("a", "b", "c")
        client.send_fragments(b"1", b"2")
        client.send_fragments("alone")

    with ScriptedServer(script) as server, dial(server) as client:
        assert [client.recv(timeout=5) for _ in range(3)] == ["abc", b"12", "alone"]


def test_fragments_from_the_client_are_one_message():
    with ScriptedServer(lambda client: client.expect("one two")) as server, dial(server) as client:
        client.send(["one ", "two"])
        server.wait_until(lambda: server.recordings[0].messages, "the message")


def test_raw_bytes_reach_the_client_as_they_are():
    with ScriptedServer(lambda client: client.send("x") or client.send_raw(b"\x81\x02hi")) as server, dial(server) as client:  # type: ignore[func-returns-value]
        assert [client.recv(timeout=5) for _ in range(2)] == ["x", "hi"]


def test_ping_is_answered_and_awaited():
    def script(client: ScriptedConnection) -> None:
        client.ping(b"are you there")
        client.expect_pong(b"are you there")
        client.send("thanks")

    with ScriptedServer(script) as server, dial(server) as client:
        assert client.recv(timeout=5) == "thanks"


def test_pings_of_the_client_are_answered_until_muted():
    def script(client: ScriptedConnection) -> None:
        assert client.expect_ping() == b"1"
        client.mute()
        assert client.expect_ping() == b"2"
        client.send("read")

    with ScriptedServer(script) as server, dial(server, ping_interval=None, close_timeout=0.2) as client:
        assert client.ping(b"1").wait(5)
        unanswered = client.ping(b"2")
        assert client.recv(timeout=5) == "read"
        assert not unanswered.is_set()


def test_close_in_order_carries_code_and_reason():
    with ScriptedServer(lambda client: client.close(1012, "restart")) as server, dial(server) as client:
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "restart")
        server.wait_until(lambda: server.recordings[0].left, "the answer to our close")
    assert server.recordings[0].close_code == 1012


def test_wait_for_close_asserts_the_code():
    failure = failure_of(lambda client: client.wait_for_close(1001), come_and_go)
    assert "expected the client to close with 1001, but it was 1000" in str(failure)


def test_hanging_up_and_cutting_end_without_a_close_frame():
    with ScriptedServer(lambda client: client.send("x") or client.hang_up()) as server, bare(server) as sock:  # type: ignore[func-returns-value]
        assert read_to_end(sock).endswith(b"\x81\x01x")
    cut = threading.Event()

    def script(client: ScriptedConnection) -> None:
        client.accept()
        cut.wait(5)
        client.cut()

    with ScriptedServer(script) as server, bare(server) as sock:
        sock.recv(1024)
        cut.set()
        with pytest.raises(ConnectionResetError):
            read_to_end(sock)


def test_a_stalled_server_answers_nothing_and_still_ends():
    with ScriptedServer(lambda client: client.accept() or client.stall()) as server:  # type: ignore[func-returns-value]
        with dial(server, ping_interval=None, close_timeout=0.1) as client:
            assert not client.ping().wait(0.2)
        started = time.monotonic()
    assert time.monotonic() - started < 5


def test_a_script_that_talks_to_nobody_ends_with_its_client():
    before = threading.active_count()

    def script(client: ScriptedConnection) -> None:
        while True:
            client.send("x" * 1000)

    with ScriptedServer(script) as server:
        sock = bare(server)
        sock.recv(100)
        sock.close()
        server.wait_until(lambda: threading.active_count() <= before + 1, "the script's thread to end")


def test_a_script_blocked_in_a_send_does_not_outlive_its_server():
    started = threading.Event()

    def script(client: ScriptedConnection) -> None:
        client.accept()
        while True:
            client.send_raw(b"\x82\x7e\xff\xff" + bytes(65535))
            started.set()

    with ScriptedServer(script) as server:
        sock = bare(server)
        assert started.wait(5)
    sock.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scripted-server")]


def test_a_client_that_breaks_the_protocol_fails_the_test():
    def play(server: ScriptedServer) -> None:
        with bare(server) as sock:
            sock.sendall(b"\x81\x02hi")  # not masked
            read_to_end(sock)

    assert "the client broke the protocol: incorrect masking" in str(failure_of(lambda client: client.accept(), play))


def test_a_client_that_is_no_websocket_client_plays_no_script():
    with ScriptedServer(lambda client: client.send("for the real one")) as server:
        socket.create_connection(("127.0.0.1", server.port)).close()
        server.wait_until(lambda: server.recordings and server.recordings[0].handshake_error, "the first to leave")
        with dial(server) as client:
            assert client.recv(timeout=5) == "for the real one"


def test_tls():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with ScriptedServer(lambda client: client.send("x" * 100_000), ssl=context) as server:
        assert server.url.startswith("wss://")
        with dial(server, ssl=trusting) as client:
            assert client.recv(timeout=5) == "x" * 100_000
        with pytest.raises(ssl.SSLCertVerificationError):
            come_and_go(server, ssl=ssl.create_default_context())
        server.wait_until(lambda: server.recordings[1].handshake_error, "the refusal of our certificate")


def failure_of(script: Script, play: Callable[[ScriptedServer], None]) -> AssertionError:
    """Play a client against a script, and return what the end of the server raises."""
    server = ScriptedServer(script)
    server.__enter__()
    play(server)
    with pytest.raises(AssertionError) as failure:
        server.__exit__(None, None, None)
    return failure.value


def come_and_go(server: ScriptedServer, **options: object) -> None:
    with dial(server, **options):
        pass
    server.wait_until(lambda: server.recordings[-1].left, "the client left")


def until_closed(client: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed):
        client.recv(timeout=5)


def bare(server: ScriptedServer) -> socket.socket:
    """Upgrade without any library, to see the bytes themselves."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    sock.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return sock


def read_to_end(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data
