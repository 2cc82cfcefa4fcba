"""TLS: who is trusted, what is shown, and that one read brings every record that is there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from ingest.connection.frames import Close, Received
from ingest.connection.stream import READ_BYTES
from ingest.connection.tls import TLSStream
from ingest.connection.transport import Transport
from ingest.errors import ConnectionDropped, DialFailed, SendTimedOut
from tests.support.dialling import dial_error, dialled, readable, receive_until
from tests.support.echo import websockets_server
from tests.support.raw_server import RawServer, accept_key, accept_upgrade
from tests.support.tls import Authority
from tests.support.waiting import wait_until

SOON = 20.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def raw_tls_server(context: ssl.SSLContext, then: Callable[[ssl.SSLSocket], None]) -> RawServer:
    """A server that upgrades over TLS, and then does as told."""

    def handler(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secured:
            accept_upgrade(secured)
            then(secured)

    return RawServer(handler)


def trusting(authority: Authority, port: int) -> AbstractContextManager[Transport]:
    """A connection to ``localhost``, which trusts this authority."""
    return dialled(f"wss://localhost:{port}/", tls={"ca_file": authority.ca_file})


def echoed(port: int, host: str = "localhost", **tls: Any) -> list[Received]:
    with dialled(f"wss://{host}:{port}/", tls=tls) as transport:
        transport.send(["hello"], 5.0)
        return receive_until(transport, 1)


# Trust


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("option", ["ca_file", "extra_ca_file"])
def test_a_server_with_a_certificate_of_a_trusted_authority(authority: Authority, option: str, version: str) -> None:
    context = authority.server_context("localhost")
    context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    with websockets_server(ssl=context) as port:
        assert echoed(port, **{option: authority.ca_file}) == ["hello"]


def test_an_unknown_authority_is_told_readably(authority: Authority) -> None:
    with websockets_server(ssl=authority.server_context("localhost")) as port:
        error = dial_error(DialFailed, f"wss://localhost:{port}/?token=secret")

    assert error.step == "tls"
    assert error.detail.startswith("the certificate of localhost is not accepted: ")
    assert "issuer" in error.detail or "self-signed" in error.detail


@pytest.mark.parametrize(("names", "host"), [(["example.com"], "localhost"), (["localhost"], "127.0.0.1")])
def test_a_certificate_for_another_name_is_not_accepted(authority: Authority, names: list[str], host: str) -> None:
    with websockets_server(ssl=authority.server_context(*names)) as port:
        error = dial_error(DialFailed, f"wss://{host}:{port}/", tls={"ca_file": authority.ca_file})

    assert "not valid for" in error.detail
    assert host in error.detail


def test_server_hostname_is_what_is_asked_for_and_checked(authority: Authority) -> None:
    asked: list[str | None] = []
    context = authority.server_context("feed.example.com")
    context.sni_callback = lambda _connection, name, _context: asked.append(name)
    with websockets_server(ssl=context) as port:
        received = echoed(port, ca_file=authority.ca_file, server_hostname="feed.example.com")

    assert received == ["hello"]
    assert asked == ["feed.example.com"]


def test_an_address_is_checked_against_the_certificates_addresses(authority: Authority) -> None:
    with websockets_server(ssl=authority.server_context("127.0.0.1")) as port:
        assert echoed(port, host="127.0.0.1", ca_file=authority.ca_file) == ["hello"]


def test_without_verification_any_certificate_will_do(authority: Authority) -> None:
    with websockets_server(ssl=authority.server_context("example.com")) as port:
        assert echoed(port, verify=False) == ["hello"]


def test_a_client_certificate_is_shown(authority: Authority) -> None:
    certificate, key = authority.files("client.example.com")
    with websockets_server(ssl=authority.server_context("localhost", client_certificates=True)) as port:
        url = f"wss://localhost:{port}/"
        assert echoed(port, ca_file=authority.ca_file, client_cert=certificate, client_key=key) == ["hello"]
        error = dial_error(DialFailed, url, tls={"ca_file": authority.ca_file})

    assert error.step in ("tls", "upgrade")  # TLS 1.3 tells it only after the handshake
    assert "certificate required" in error.detail or "reset" in error.detail


def test_an_encrypted_client_key_is_opened_with_its_password(authority: Authority) -> None:
    password = "pass word of the key"
    certificate, key = authority.files("locked.example.com", password)
    tls = {"ca_file": authority.ca_file, "client_cert": certificate, "client_key": key}
    with websockets_server(ssl=authority.server_context("localhost", client_certificates=True)) as port:
        assert echoed(port, **tls, client_key_password=password) == ["hello"]
        for wrong in ("wr0ng-s3cret", "", None):
            given = {} if wrong is None else {"client_key_password": wrong}
            error = dial_error(DialFailed, f"wss://localhost:{port}/", tls={**tls, **given})
            assert error.step == "tls"
            assert error.detail == (
                f"tls.client_key_password: it does not open the key in {key!r}"
                if wrong
                else f"tls.client_key = {key!r}: the key is encrypted; set tls.client_key_password"
            )
            assert "wr0ng-s3cret" not in f"{error} {error!r}"


def test_versions_below_min_version_are_refused(authority: Authority) -> None:
    context = authority.server_context("localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with websockets_server(ssl=context) as port:
        error = dial_error(DialFailed, f"wss://localhost:{port}/", tls={"ca_file": authority.ca_file, "min_version": "1.3"})

    assert error.step == "tls"
    assert "version" in error.detail


def test_ciphers_are_offered_as_set(authority: Authority) -> None:
    offered: list[str] = []

    def handler(connection: ServerConnection) -> None:
        assert isinstance(connection.socket, ssl.SSLSocket)
        shared = [name for name, *_ in connection.socket.shared_ciphers() or []]
        offered.extend(name for name in shared if not name.startswith("TLS_"))  # those of TLS 1.3 have no setting
        for _ in connection:
            pass

    context = authority.server_context("localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    settings = {"ca_file": authority.ca_file, "ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"}
    with websockets_server(handler, ssl=context) as port, dialled(f"wss://localhost:{port}/", tls=settings) as transport:
        wait_until(lambda: offered, 10.0, "the server's list")
        transport.close(1000, "", 5.0)

    assert set(offered) <= {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"}


def test_a_server_hostname_that_no_certificate_can_have_is_told() -> None:
    with websockets_server() as port:
        error = dial_error(DialFailed, f"wss://localhost:{port}/", tls={"server_hostname": ".example.com"})

    assert error == DialFailed("tls", "'.example.com' is no name that a certificate could have")


def test_a_server_without_tls_is_told_as_such() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with RawServer(answer) as server:
        error = dial_error(DialFailed, f"wss://127.0.0.1:{server.port}/")

    assert error == DialFailed("tls", "the server does not speak TLS on this port (is it a ws:// URL?)")


def test_a_server_that_hangs_up_in_the_handshake_is_told_as_such() -> None:
    with RawServer(lambda connection: connection.recv(1) and None) as server:
        error = dial_error(DialFailed, f"wss://127.0.0.1:{server.port}/")

    assert error.step == "tls"
    assert error.detail in ("the peer ended the stream", "the peer reset the connection")


# Records


def test_one_read_brings_every_record(authority: Authority) -> None:
    def send_records(secured: ssl.SSLSocket) -> None:
        secured.recv(100)
        for number in range(1000):
            secured.sendall(b"\x81\x04" + f"{number:04}".encode())  # a record each
        server.closing.wait(30)

    with (
        raw_tls_server(authority.server_context("localhost"), send_records) as server,
        trusting(authority, server.port) as transport,
    ):
        assert transport.receive(0.1) == []  # session tickets
        transport.send(["go"], 5.0)
        wait_until(lambda: readable(transport) >= 1000 * 28, 10.0, "the arrival of all records")

        assert transport.receive(0.0) == [f"{number:04}" for number in range(1000)]


def test_messages_of_many_records_and_of_all_lengths_come_back(authority: Authority) -> None:
    messages: list[str | bytes] = [bytes(length) for length in (0, 1, 16383, 16384, 16385, READ_BYTES, 3 * READ_BYTES + 7)]
    with websockets_server(ssl=authority.server_context("localhost")) as port, trusting(authority, port) as transport:
        transport.send(messages, 10.0)
        received = receive_until(transport, len(messages))
        answer = transport.close(1000, "done", 5.0)

    assert received == messages
    assert answer == [Close(1000, "done")]


def test_frames_in_the_record_of_the_answer_need_no_further_read(authority: Authority) -> None:
    def handler(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += secured.recv(4096)
            accept = accept_key(request.decode("latin-1")).encode()
            head = b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept
            secured.sendall(head + b"\r\n\r\n\x81\x05early")
            server.closing.wait(30)

    context = authority.server_context("localhost")
    with RawServer(handler) as server, trusting(authority, server.port) as transport:
        assert transport.receive(0.0) == ["early"]


@pytest.mark.parametrize("orderly", [True, False])
def test_the_end_of_the_tls_session_is_told_after_what_came_before_it(authority: Authority, orderly: bool) -> None:
    def end(secured: ssl.SSLSocket) -> None:
        secured.sendall(b"\x81\x04last")
        if orderly:
            secured.unwrap()

    with raw_tls_server(authority.server_context("localhost"), end) as server, trusting(authority, server.port) as transport:
        assert receive_until(transport, 1) == ["last"]
        with pytest.raises(ConnectionDropped, match="the TLS session" if orderly else "the stream"):
            receive_until(transport, 1)


def test_a_damaged_record_drops_the_connection_after_the_good_ones(authority: Authority) -> None:
    def damage(secured: ssl.SSLSocket) -> None:
        secured.sendall(b"\x81\x04good")
        with socket.socket(fileno=secured.detach()) as bare:
            bare.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            server.closing.wait(30)

    with raw_tls_server(authority.server_context("localhost"), damage) as server, trusting(authority, server.port) as transport:
        assert receive_until(transport, 1) == ["good"]
        with pytest.raises(ConnectionDropped, match=r"TLS: .*(bad record mac|record layer failure)"):
            receive_until(transport, 1)
        with pytest.raises(ConnectionDropped, match=r"TLS: .*(bad record mac|record layer failure)"):
            transport.send(["too late"], 1.0)


def test_a_server_that_takes_nothing_times_a_send_out(authority: Authority) -> None:
    with (
        raw_tls_server(authority.server_context("localhost"), lambda _: server.closing.wait(30) and None) as server,
        trusting(authority, server.port) as transport,
    ):
        with pytest.raises(SendTimedOut):
            transport.send([b"x" * 1024 * 1024] * 32, 0.3)
        began = time.monotonic()
        transport.close(1001, "", 0.3)
        assert time.monotonic() - began < SOON


# Against OpenSSL's own server, which can do on command what Python's cannot


@contextlib.contextmanager
def openssl_server(authority: Authority, version: str) -> Iterator[subprocess.Popen[bytes]]:
    """`openssl s_server` on a port that it says; what is written to its standard input goes to the client, or is a command."""
    certificate, key = authority.files("localhost")
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key, f"-{version}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(shutil.which("openssl") is None and "CI" not in os.environ, reason="the openssl command is not installed")
@pytest.mark.parametrize(("version", "command"), [("tls1_3", b"K\n"), ("tls1_3", b"k\n"), ("tls1_2", b"r\n")])
def test_key_updates_and_renegotiations_do_not_disturb(authority: Authority, version: str, command: bytes) -> None:
    with openssl_server(authority, version) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        output = _Output(server.stdout)
        port = output.wait_for_port()
        answer = threading.Thread(target=_answer, args=(server, output))
        answer.start()
        with dialled(f"wss://localhost:{port}/", tls={"ca_file": authority.ca_file}) as transport:
            answer.join(20)
            for text in (b"one", b"two", b"three"):
                server.stdin.write(b"\x81" + bytes([len(text)]) + text)
                server.stdin.flush()
                assert receive_until(transport, 1) == [text.decode()]
                server.stdin.write(command)
                server.stdin.flush()
                assert transport.receive(0.2) == []
                sent = f"<{text.decode()}>" * 10
                transport.send([sent], 5.0)
                output.wait_for_message(sent, lambda: transport.receive(0.02))
            assert isinstance(transport._stream, TLSStream)
            assert transport._stream.ended is None


class _Output:
    """What a process writes, collected by a thread."""

    def __init__(self, stream: Any) -> None:
        self._data = b""
        self._stream = stream
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            while data := self._stream.read1(65536):
                self._data += data

    def wait_for_port(self) -> int:
        """Wait until it listens; return where."""
        found = wait_until(lambda: re.search(rb"ACCEPT \S+:(\d+)\s", self._data), 20.0, "a server that listens")
        return int(found[1])

    def wait_for(self, text: bytes) -> bytes:
        wait_until(lambda: text in self._data, 20.0, f"{text!r} from the server")
        return self._data

    def wait_for_message(self, text: str, meanwhile: Callable[[], object]) -> None:
        """Wait until a masked text frame of this content was written."""

        def arrived() -> bool:
            meanwhile()
            head = bytes([0x81, 0x80 | len(text)])
            masked = self._data.partition(head)[2][: 4 + len(text)]
            unmasked = bytes(byte ^ masked[index % 4] for index, byte in enumerate(masked[4:]))
            return unmasked == text.encode()

        wait_until(arrived, 10.0, "what was sent, at the server")
        self._data = b""


def _answer(server: subprocess.Popen[bytes], output: _Output) -> None:
    request = output.wait_for(b"Sec-WebSocket-Version: 13").decode("latin-1")
    assert server.stdin is not None
    head = f"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key(request)}\r\n\r\n"
    server.stdin.write(head.encode())
    server.stdin.flush()


# Files


def test_a_renewed_file_is_read_again_at_the_next_connection(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    ca_file = tmp_path / "trusted.pem"
    ca_file.write_bytes(Path(other.ca_file).read_bytes())
    with websockets_server(ssl=authority.server_context("localhost")) as port:
        dial_error(DialFailed, f"wss://localhost:{port}/", tls={"ca_file": str(ca_file)})
        ca_file.write_bytes(Path(authority.ca_file).read_bytes() + b"\n")

        assert echoed(port, ca_file=str(ca_file)) == ["hello"]
