"""An open WebSocket connection: frames in, frames out, and a close that never hangs.

The rule: only the feed thread calls it; every wait ends at its timeout, and `Transport.receive` also at a wake-up.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from ingest.clock import Deadline, Monotonic, monotonic
from ingest.connection.dial import dial
from ingest.connection.frames import Close, FrameParser, Ping, Pong, Received, Violation
from ingest.connection.headers import check_headers
from ingest.connection.opening import Opening
from ingest.connection.outgoing import encode, encode_close
from ingest.connection.stream import Stream
from ingest.connection.target import parse_target
from ingest.connection.upgrade import Upgraded, upgrade
from ingest.connection.wakeup import Wakeup
from ingest.errors import ConnectionDropped, SendTimedOut
from settings.model import FeedSettings

#: What `Transport.close` still takes in while it waits for the server's close; a server that sends on is cut.
CLOSING_BYTES = 8 * 1024 * 1024


def connect(
    feed: FeedSettings,
    url: str,
    headers: Mapping[str, str],
    *,
    wakeup: Wakeup,
    stopping: Callable[[], bool],
    clock: Monotonic = monotonic,
) -> Transport:
    """Make a connection within ``feed.open_timeout``: DNS, TCP, proxy, TLS and upgrade together.

    Raises `UrlFailed`, `HeadersFailed`, `DialFailed`, `OpenTimedOut`, `HandshakeRejected`, `HandshakeInvalid`, or `Stopped`
    where ``stopping()`` becomes true, for which the wake-up should be set.
    """
    target = parse_target(url)
    check_headers(headers)
    opening = Opening(feed.open_timeout, wakeup, stopping, clock)
    try:
        stream = dial(feed, target, opening)
        try:
            upgraded = upgrade(stream, feed, target, headers, opening)
        except BaseException:
            stream.abort()
            raise
    finally:
        opening.finish()
    return Transport(stream, upgraded, wakeup, feed.max_message_bytes, clock)


class Transport:
    """One connection after its upgrade."""

    def __init__(
        self, stream: Stream, upgraded: Upgraded, wakeup: Wakeup, max_message_bytes: int, clock: Monotonic = monotonic
    ) -> None:
        self._stream = stream
        self._wakeup = wakeup
        self._clock = clock
        self._parser = FrameParser(max_message_bytes, upgraded.inflater)
        self._early = upgraded.early
        self._ended_by: Close | Violation | None = None
        self._socket_and_wakeup, self._wakeup_only = select.poll(), select.poll()
        self._socket_and_wakeup.register(stream.fileno(), select.POLLIN)
        self._socket_and_wakeup.register(wakeup.fileno(), select.POLLIN)
        self._wakeup_only.register(wakeup.fileno(), select.POLLIN)
        self.subprotocol = upgraded.subprotocol
        self.response_headers = upgraded.headers
        self.bytes_received = len(upgraded.early)

    def receive(self, timeout: float | None, *, read: bool = True) -> list[Received]:
        """Return every frame that can be had without waiting, after a wait for the first of at most ``timeout`` seconds.

        Empty at the timeout, at a wake-up (which is cleared), and where only part of a frame came. With ``read`` false the
        socket is left alone. Raises `ConnectionDropped` once all that came before the end has been returned.
        """
        if read and self._early:
            early, self._early = self._early, b""
            return self._parse(early)
        if read and self._stream.ended is not None:
            raise ConnectionDropped(self._stream.ended)
        poller = self._socket_and_wakeup if read else self._wakeup_only
        readable = False
        for descriptor, _ in poller.poll(None if timeout is None else timeout * 1000):
            if descriptor == self._wakeup.fileno():
                self._wakeup.clear()
            else:
                readable = True
        return self._read() if readable else []

    def _read(self) -> list[Received]:
        data = self._stream.receive()
        self.bytes_received += len(data)
        with suppress(ConnectionDropped):  # what was read comes first; reading on will find the end as well
            self._stream.flush()  # TLS may have something to say by itself
        if not data and self._stream.ended is not None:
            raise ConnectionDropped(self._stream.ended)
        return self._parse(data)

    def _parse(self, data: bytes) -> list[Received]:
        received = self._parser.feed(data)
        if received and isinstance(received[-1], Close | Violation):
            self._ended_by = received[-1]
        return received

    def send(self, frames: Sequence[str | bytes | Ping | Pong], timeout: float) -> None:
        """Send frames in one piece; ``str`` leaves as text, ``bytes`` as binary.

        Raises `SendTimedOut` or `ConnectionDropped`, after which the connection is of no use; and, before anything is sent,
        ValueError or TypeError for what cannot be sent.
        """
        self._write(encode(frames), Deadline(timeout, self._clock))

    def _write(self, data: bytes, deadline: Deadline) -> None:
        self._stream.queue(data)
        if self._stream.flush():
            return
        poller = select.poll()
        poller.register(self._stream.fileno(), select.POLLOUT)
        while not self._stream.flush():
            if deadline.expired:
                raise SendTimedOut(deadline.seconds)
            poller.poll(deadline.remaining() * 1000)

    def close(self, code: int, reason: str, timeout: float) -> list[Received]:
        """Say close, wait at most ``timeout`` seconds for the server's own, and free the socket; never raises.

        Returns what came before it, the server's `Close` included. After a `Violation` nothing is parsed any more, but the
        server is read until it ends: a reset would take our close frame with it.
        """
        early, self._early = self._early, b""
        received = self._parse(early)
        deadline = Deadline(timeout, self._clock)
        try:
            if self._stream.ended is None:
                self._write(encode_close(code, reason), deadline)
                self._await_close(deadline, received)
                self._stream.end()
        except (ConnectionDropped, SendTimedOut):
            pass  # it is gone, or as good as gone; that is what was wanted
        finally:
            self._stream.close()
        return received

    def _await_close(self, deadline: Deadline, received: list[Received]) -> None:
        allowed = self.bytes_received + CLOSING_BYTES
        poller = select.poll()
        poller.register(self._stream.fileno(), select.POLLIN)
        while not isinstance(self._ended_by, Close) and not deadline.expired:
            if poller.poll(deadline.remaining() * 1000):
                received += self._read()
            if self._ended_by is None and self.bytes_received >= allowed:
                return

    def abort(self) -> None:
        """Cut the connection at once, unless it is closed already."""
        self._stream.abort()
