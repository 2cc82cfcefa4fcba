"""The server's side of a case, over a real socket, and the real connection plane on the other end of it.

The rule: what the client sends is judged frame by frame (masked, shortest length, nothing reserved), and every wait ends.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from contextlib import nullcontext, suppress
from functools import partial
from typing import BinaryIO

from examples.echo_session import EchoSession
from ingest.connection.callbacks import SessionMaker
from ingest.connection.connection import Connection
from ingest.connection.retry import ConnectionEnd
from ingest.connection.states import Trigger
from ingest.connection.status import FeedStatus
from ingest.connection.transport import connect
from ingest.connection.wakeup import Wakeup
from ingest.errors import ClosedByServer, ProtocolViolated
from settings.model import FeedSettings
from tests.conformance.case import Case
from tests.support.connections import CollectingSink
from tests.support.frames import CLOSE, FIN, close
from tests.support.raw_server import RawServer, read_request, switching

#: Seconds after which a wait of the server, and a whole case, has failed.
PATIENCE, LONGEST = 30.0, 60.0


class Client:
    """What the client sends, frame by frame."""

    def __init__(self, sent: BinaryIO) -> None:
        self._file = sent

    def next(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame."""
        first, second = self._exactly(2)
        assert first & 0xF0 == FIN, f"a fragment or reserved bits: {first:#x}"
        assert second & 0x80, "a frame that is not masked"
        length = second & 0x7F
        if length > 125:
            size, shortest = (2, 126) if length == 126 else (8, 1 << 16)
            length = int.from_bytes(self._exactly(size), "big")
            assert length >= shortest, "a length that is not in its shortest form"
        key, payload = self._exactly(4), self._exactly(length)
        pad = (key * (length // 4 + 1))[:length]
        unmasked = int.from_bytes(payload, sys.byteorder) ^ int.from_bytes(pad, sys.byteorder)
        return first & 0x0F, unmasked.to_bytes(length, sys.byteorder)

    def ended(self) -> bool:
        """Wait for the end of the stream; False where something else comes.

        A reset is an end too: the client's system says so where we wrote on after the client had left.
        """
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        assert len(data) == size, "the client left without a close frame"
        return data


def play(case: Case, connection: socket.socket, sent: BinaryIO, request: str) -> None:
    """Answer the request and play the case; AssertionError says what the client did wrong."""
    connection.settimeout(PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert "permessage-deflate" in request, "compression was not offered"
    connection.sendall(switching(request, *([f"Sec-WebSocket-Extensions: {case.extension}"] if case.extension else [])))
    client = Client(sent)
    # Who refuses to read on waits a second for us and leaves: what we write after that goes nowhere. It said close before.
    gone = suppress(ConnectionError) if case.violation else nullcontext()
    for writes, answers in case.rounds():
        with gone:
            for write in writes:
                connection.sendall(write)
        for answer in answers:
            assert client.next() == answer
    if case.server_closes:
        connection.sendall(close(1000))
    opcode, payload = client.next()
    assert opcode == CLOSE, f"opcode {opcode} instead of a close frame"
    assert len(payload) >= 2, "a close frame without a code"
    assert struct.unpack("!H", payload[:2]) == (case.close,)
    payload[2:].decode()
    with suppress(OSError):  # reset already
        connection.shutdown(socket.SHUT_WR)
    assert client.ended(), "the client sent something after its close frame"


def run_case(case: Case) -> None:
    """Let our client and the server play the case, and judge how it ended on both sides."""
    faults: list[BaseException] = []
    played = threading.Event()

    def handler(connection: socket.socket) -> None:
        try:
            with connection.makefile("rb", buffering=1 << 18) as sent:
                play(case, connection, sent, read_request(connection))
        except (AssertionError, OSError, UnicodeDecodeError) as fault:
            faults.append(fault)
        finally:
            played.set()

    with RawServer(handler) as server:
        end = connect_once(f"ws://127.0.0.1:{server.port}/")
        assert played.wait(PATIENCE), "the case is not at its end though the client has left"
    if faults:
        faults[0].add_note(f"the client's end: {end.reason}")
        raise faults[0]
    assert end.was_ready
    assert isinstance(end.reason, ProtocolViolated if case.violation else ClosedByServer), end.reason


def connect_once(url: str, **settings: object) -> ConnectionEnd:
    """Run one connection of an echo feed to its end; one that takes longer than ``LONGEST`` is stopped, which is told."""
    echo = {"name": "echo", "url": url, "actor": "none", "compression": "deflate", "ping_interval": 0}
    feed = FeedSettings.model_validate({**echo, **settings})
    wakeup, stop, sink = Wakeup(), threading.Event(), CollectingSink()

    def too_long() -> None:
        stop.set()
        wakeup.set()

    timer = threading.Timer(LONGEST, too_long)
    timer.start()
    try:
        status = FeedStatus("echo", lambda event: None)
        status.move(Trigger.DIAL)
        dial = partial(connect, feed, wakeup=wakeup, stopping=stop.is_set)
        end = Connection(feed, SessionMaker(feed, EchoSession), sink, status, dial=dial, stopping=stop.is_set).run()
    finally:
        timer.cancel()
        timer.join()
        wakeup.close()
    assert sink.payloads == [], "an echo feed emits nothing"
    return end
