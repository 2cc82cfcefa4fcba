"""The seam to websocket-client; the upgrade itself is tested against real servers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import websocket

from ingest.connection.opening import Opening
from ingest.connection.stream import TCPStream
from ingest.connection.target import Target
from ingest.connection.upgrade import upgrade
from ingest.connection.wakeup import Wakeup
from ingest.errors import HandshakeInvalid
from tests.support.dialling import feed_settings


@pytest.fixture
def stream() -> Iterator[TCPStream]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield TCPStream(ours)


def test_no_exception_of_the_library_comes_through(stream: TCPStream, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> None:
        raise websocket.WebSocketProtocolException("s3cr3t")

    monkeypatch.setattr(websocket.WebSocket, "connect", connect)
    wakeup = Wakeup()
    opening = Opening(5.0, wakeup, lambda: False)
    with pytest.raises(HandshakeInvalid) as raised:
        upgrade(stream, feed_settings("ws://a.example/"), Target(False, "a.example", 80, "/"), {}, opening)
    wakeup.close()

    assert opening.step == "upgrade"
    assert "s3cr3t" not in f"{raised.value} {raised.value!r}"
