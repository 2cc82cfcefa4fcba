"""What a script can do with its client: the verbs of a scripted connection.

The rule: every verb ends: by its effect, by a deadline (an `AssertionError` that says what was awaited), or with the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

from ingest.clock import Deadline
from ingest.testing.link import Link
from ingest.testing.messages import Expected, Message, describe, encoded, matches
from ingest.testing.recording import ReceivedFrame, Recording
from ingest.testing.stream import FOREVER, GRACE, StopSignal


class ScriptEnded(Exception):
    """Ends a script whose client has left, or whose server stops: nothing was asserted, so nothing failed."""


class ScriptedConnection:
    """One client, in the hands of a script.

    The request has been read when the script begins. `accept` is implied by the first verb that needs it. While a script waits
    (`expect`, `listen`, `messages`, `wait_for_close`) pings and the client's close are answered; while it stalls, nothing is.
    When the script returns, the connection stays and is answered until the client leaves or the server stops (close 1001).
    """

    def __init__(self, link: Link, stop: StopSignal, timeout: float) -> None:
        self._link = link
        self._stop = stop
        self._timeout = timeout
        self._answered = False
        self._over = False

    @property
    def recording(self) -> Recording:
        """What the client did so far; ``recording.path`` and ``recording.headers`` are of its request."""
        return self._link.recording

    # -- the upgrade

    def accept(
        self, *, headers: Mapping[str, str] | None = None, subprotocol: str | None = None, compression: bool = False
    ) -> None:
        """Answer the upgrade with 101; ``headers`` add to ours or replace them, ``compression`` takes the client's offer."""
        self.send_raw(self.upgrade_response(headers=headers, subprotocol=subprotocol, compression=compression))

    def upgrade_response(
        self, *, headers: Mapping[str, str] | None = None, subprotocol: str | None = None, compression: bool = False
    ) -> bytes:
        """Return the bytes of the 101, for a script that sends them itself with `send_raw`."""
        self._answered = True
        return self._link.upgrade_response(headers or {}, subprotocol, compression)

    def refuse(self, status: int = 503, headers: Mapping[str, str] | None = None, body: str | bytes = b"") -> None:
        """Answer the upgrade with another status than 101, and end the connection."""
        self.send_raw(self._link.refusal(status, headers or {}, encoded(body)))
        self.hang_up()

    # -- from the client

    def expect(self, expected: Expected | None = None, *, timeout: float | None = None) -> str | bytes:
        """Wait for the next message and return it; `AssertionError` unless it is as ``expected`` (None: whatever it is)."""
        message = self._await(_is_message, describe(expected), timeout).payload
        if not matches(message, expected):
            raise AssertionError(f"expected {describe(expected)}, got {message!r}")
        return message

    def expect_ping(self, *, timeout: float | None = None) -> bytes:
        """Wait for a ping and return its payload; messages before it stay for `expect`."""
        return encoded(self._await(lambda frame: frame.kind == "ping", "a ping", timeout).payload)

    def expect_pong(self, payload: bytes = b"", *, timeout: float | None = None) -> None:
        """Wait for the pong that answers our ping of this payload; messages before it stay for `expect`."""
        self._await(lambda frame: frame.kind == "pong" and frame.payload == payload, f"a pong with {payload!r}", timeout)

    def messages(self) -> Iterator[str | bytes]:
        """Yield every message until the client leaves; end the script when the server stops."""
        self._require_open()
        while True:
            while self._link.inbox:
                frame = self._link.inbox.popleft()
                if _is_message(frame):
                    yield frame.payload
            if self.recording.left:
                return
            self._read(Deadline(self._timeout))

    def listen(self, seconds: float) -> None:
        """Read and answer pings for so long, or until the client leaves."""
        self._accept_once()
        deadline = Deadline(seconds)
        while not deadline.expired and not self.recording.left:
            self._read(deadline)

    def wait_for_close(self, code: int | None = None, *, timeout: float | None = None) -> int:
        """Wait until the client closes or leaves; return its code (1006: none), `AssertionError` unless it is ``code``."""
        self._accept_once()
        deadline = Deadline(self._timeout if timeout is None else timeout)
        while self._link.pump(deadline, patient=True):
            pass
        found = self.recording.close_code
        if found is None:
            raise AssertionError(f"the client did not close within {deadline.seconds:g} s")
        if code is not None and found != code:
            raise AssertionError(f"expected the client to close with {code}, but it was {found}")
        return found

    # -- to the client

    def send(self, *messages: Message) -> None:
        """Send each as a message: ``str`` as text, ``bytes`` as binary, a dict or list as its JSON text."""
        self._require_open()
        for message in messages:
            send = self._link.protocol.send_binary if isinstance(message, bytes) else self._link.protocol.send_text
            send(encoded(message))
        self._flush()

    def send_fragments(self, first: str | bytes, *rest: str | bytes) -> None:
        """Send one message in as many frames; the first part says whether it is text or binary."""
        self._require_open()
        send = self._link.protocol.send_binary if isinstance(first, bytes) else self._link.protocol.send_text
        send(encoded(first), fin=not rest)
        for position, part in enumerate(rest, start=1):
            self._link.protocol.send_continuation(encoded(part), fin=position == len(rest))
        self._flush()

    def send_raw(self, data: bytes, *, every: float | None = None) -> None:
        """Send bytes as they are, even instead of the 101; with ``every``, one byte at a time, so many seconds apart."""
        self._answered = True
        for piece in (data,) if every is None else (bytes((byte,)) for byte in data):
            self._transmit(piece)
            if every is not None and self._stop.wait(every):
                raise ScriptEnded

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping; `expect_pong` waits for its answer."""
        self._require_open()
        self._link.protocol.send_ping(payload)
        self._flush()

    def send_close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame (None: without a code) and go on; a code that must not be sent goes out with `send_raw`."""
        self._require_open()
        self._link.protocol.send_close(code, reason)
        self._flush()

    # -- silence, and the end

    def stall(self, seconds: float | None = None) -> None:
        """Neither read nor write for so long (None: until the server stops), as a host that hangs."""
        if self._stop.wait(seconds):
            raise ScriptEnded

    def mute(self) -> None:
        """From now on read pings and the client's close, but do not answer them."""
        self._link.muted = True

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close in order: our close frame, the client's answer, the end of the TCP connection."""
        self.send_close(code, reason)
        self.wait_for_close()
        self.hang_up()

    def hang_up(self) -> None:
        """End the TCP connection in order, but without a close frame."""
        self._over = True
        self._link.stream.finish()

    def cut(self) -> None:
        """End the TCP connection with a reset, without a close frame."""
        self._over = True
        self._link.stream.reset()

    def play_out(self) -> None:
        """Go on after the script's last verb until the client leaves or the server stops; called by the server."""
        if self._over:
            return
        try:
            self.listen(FOREVER)
        except ScriptEnded:
            self._say_goodbye()
        self.hang_up()

    # -- helpers

    def _say_goodbye(self) -> None:
        if self._link.is_open and not self._link.muted:
            self._link.protocol.send_close(1001)
            self._link.flush()
            deadline = Deadline(GRACE)
            while self._link.pump(deadline, patient=True):
                pass

    def _accept_once(self) -> None:
        if not self._answered:
            self.accept()

    def _require_open(self) -> None:
        self._accept_once()
        if self.recording.left:
            raise ScriptEnded
        if not self._link.is_open:
            raise AssertionError("the script goes on with a connection that it has closed, or never accepted")

    def _flush(self) -> None:
        self._transmit(b"".join(self._link.protocol.data_to_send()))

    def _transmit(self, data: bytes) -> None:
        if not self._link.stream.send(data):
            raise ScriptEnded

    def _read(self, deadline: Deadline) -> None:
        if not self._link.pump(deadline) and self._stop.is_set:
            raise ScriptEnded

    def _await(self, wanted: Callable[[ReceivedFrame], bool], what: str, timeout: float | None) -> ReceivedFrame:
        self._accept_once()
        deadline = Deadline(self._timeout if timeout is None else timeout)
        while True:
            for frame in self._link.inbox:
                if wanted(frame):
                    self._link.inbox.remove(frame)
                    return frame
            if not self._link.pump(deadline, patient=True):
                self._fail_waiting(what, deadline)

    def _fail_waiting(self, what: str, deadline: Deadline) -> NoReturn:
        if self.recording.left:
            raise AssertionError(f"expected {what}, but the client left (close code {self.recording.close_code})")
        if self._stop.is_set:
            raise AssertionError(f"still expecting {what} when the server was stopped")
        raise AssertionError(f"expected {what}, but nothing came for {deadline.seconds:g} s")


def _is_message(frame: ReceivedFrame) -> bool:
    return frame.kind in ("text", "binary")
