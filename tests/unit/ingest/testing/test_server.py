"""The life of a scripted server: which connection plays which script, how failures surface, and that it always ends."""

import http
import socket
import ssl
import threading
import time

import pytest
import trustme
from websockets.exceptions import InvalidStatus

from ingest.testing import ScriptedConnection, ScriptedServer
from tests.support.scripted import bare, come_and_go, dial, failure_of, read_to_end, until_closed


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
    with ScriptedServer(lambda client: client.send("x" * 100_000) or client.hang_up(), ssl=context) as server:  # type: ignore[func-returns-value]
        assert server.url == f"wss://127.0.0.1:{server.port}/"
        with bare(server, trusting) as client:
            assert read_to_end(client).endswith(b"\x81\x7f" + (100_000).to_bytes(8, "big") + b"x" * 100_000)
        with pytest.raises(ssl.SSLCertVerificationError):
            bare(server, ssl.create_default_context())
        server.wait_until(lambda: server.recordings[1].handshake_error, "the refusal of our certificate")
