"""Making connections in tests: settings of a feed, and a transport that is always closed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from ingest.connection.frames import Received
from ingest.connection.transport import Transport, connect
from ingest.connection.wakeup import Wakeup
from ingest.errors import EndReason
from settings.model import FeedSettings

Reason = TypeVar("Reason", bound=EndReason)


def feed_settings(url: str, **settings: Any) -> FeedSettings:
    """Return the settings of a feed with this URL; ``settings`` are as a TOML file has them."""
    return FeedSettings.model_validate({"name": "trades", "actor": "handle", "url": url, **settings})


@contextmanager
def dialled(url: str, headers: Mapping[str, str] | None = None, **settings: Any) -> Iterator[Transport]:
    """Connect, and cut the connection at the end of the block."""
    wakeup = Wakeup()
    try:
        transport = connect(feed_settings(url, **settings), url, headers or {}, wakeup=wakeup, stopping=lambda: False)
        try:
            yield transport
        finally:
            transport.abort()
    finally:
        wakeup.close()


def dial_error(kind: type[Reason], url: str, headers: Mapping[str, str] | None = None, **settings: Any) -> Reason:
    """Return the error with which connecting ends, which must be of this kind."""
    with pytest.raises(kind) as raised, dialled(url, headers, **settings):
        pass
    return raised.value


def receive_until(transport: Transport, count: int, timeout: float = 10.0) -> list[Received]:
    """Return what the transport receives, at least ``count`` frames."""
    received: list[Received] = []
    deadline = time.monotonic() + timeout
    while len(received) < count:
        assert time.monotonic() < deadline, f"only {len(received)} of {count} frames came"
        received += transport.receive(0.1)
    return received


def readable(transport: Transport) -> int:
    """Return how many bytes wait in the transport's socket."""
    sock = socket.socket(fileno=transport._stream.fileno())
    try:
        return len(sock.recv(256 * 1024, socket.MSG_PEEK))
    except BlockingIOError:
        return 0
    finally:
        sock.detach()
