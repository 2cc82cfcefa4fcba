"""Every verb of a scripted connection, against the `websockets` client and bare sockets."""

import threading

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHeader, InvalidStatus
from websockets.sync.client import connect

from ingest.testing import ScriptedConnection, ScriptedServer
from tests.support.scripted import bare, come_and_go, dial, failure_of, read_to_end, until_closed


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


def test_a_client_that_breaks_the_protocol_fails_the_test():
    def play(server: ScriptedServer) -> None:
        with bare(server) as sock:
            sock.sendall(b"\x81\x02hi")  # not masked
            read_to_end(sock)

    assert "the client broke the protocol: incorrect masking" in str(failure_of(lambda client: client.accept(), play))
