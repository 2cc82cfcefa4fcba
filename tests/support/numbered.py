"""A numbered stream: a live source that goes on counting over all its connections, and notes what it sent on which.

The rule: a number is noted before it is sent, so what a connection lost at its end is always a tail of what was noted for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.testing import ScriptedConnection, ScriptedServer
from tests.support.waiting import wait_until

#: Seconds between two blocks of numbers.
TICK = 0.005

#: Numbers in one block where the rate is unbounded.
BLOCK = 500


class NumberedStream:
    """The script of a `ScriptedServer`; its verbs are for the test's own thread and act on the newest connection.

    ``rate`` is in numbers per second (None: as fast as the client takes them) and may be changed at any time. ``size`` pads each
    frame to so many bytes (`number_of` gets the number back). It stops after ``limit``, and listens.
    """

    def __init__(self, rate: float | None = 2000.0, *, size: int = 0, limit: float = float("inf")) -> None:
        self.rate = rate
        self.size = size
        self.limit = limit
        #: What was sent on each connection, in order; a connection that never got a number has an empty list.
        self.connections: list[list[int]] = []
        #: The highest number so far.
        self.last = 0
        self._lock = threading.Lock()
        self._going = threading.Event()
        self._going.set()
        self._thawed = threading.Event()
        self._thawed.set()
        self._verb: str | None = None

    # -- for the test

    def pause(self) -> None:
        """Send no more numbers; pings are answered."""
        self._going.clear()

    def resume(self) -> None:
        self._going.set()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Neither read nor write, on any connection, as a host that hangs."""
        self._thawed.clear()
        try:
            yield
        finally:
            self._thawed.set()

    def cut(self) -> None:
        """End the newest connection with a reset, in the midst of the stream."""
        self._do("cut")

    def hang_up(self) -> None:
        """End it in order, but without a close frame: all that was sent arrives."""
        self._do("hang_up")

    def close(self) -> None:
        """End it with a close frame (1001): all that was sent arrives."""
        self._do("close")

    def wait_for(self, number: int, timeout: float = 30.0) -> None:
        """Wait until so many numbers have been sent."""
        wait_until(lambda: self.last >= number, timeout, f"number {number} (sent: {self.last})")

    def _do(self, verb: str) -> None:
        self._verb = verb
        wait_until(lambda: self._verb is None, 20, f"the stream's {verb}")

    # -- the script

    def __call__(self, client: ScriptedConnection) -> None:
        """Serve one client until it leaves, or a verb ends the connection."""
        client.accept()
        with self._lock:
            sent: list[int] = []
            self.connections.append(sent)
        began, done = time.monotonic(), 0
        while not client.recording.left:
            if not self._thawed.is_set():
                client.stall(TICK)
            elif self._verb is not None and sent is self.connections[-1]:
                self._end(client)
                return
            else:
                count = self._due(time.monotonic() - began, done) if self._going.is_set() else 0
                done += self._send(client, sent, count)
                client.listen(TICK if self.rate is not None or not count else 0.0)
            if not (self._going.is_set() and self._thawed.is_set()):
                began, done = time.monotonic(), 0  # what was not sent in a pause is not made up for

    def _due(self, elapsed: float, done: int) -> int:
        return BLOCK if self.rate is None else int(self.rate * elapsed) - done

    def _send(self, client: ScriptedConnection, sent: list[int], count: int) -> int:
        with self._lock:
            count = int(max(0, min(count, self.limit - self.last)))
            numbers = range(self.last + 1, self.last + 1 + count)
            self.last += count
            sent.extend(numbers)
        if count:
            client.send(*[self.payload(number) for number in numbers])
        return count

    def payload(self, number: int) -> str:
        """Return the text of a number's frame."""
        return f"{number} ".ljust(self.size, "x") if self.size else str(number)

    def _end(self, client: ScriptedConnection) -> None:
        verb, self._verb = self._verb, None
        if verb == "cut":
            client.cut()
        elif verb == "hang_up":
            client.hang_up()
        else:
            client.close(1001)


def number_of(payload: str) -> int:
    """Return the number of a frame."""
    return int(payload.split(" ", 1)[0])


def numbered_server(stream: NumberedStream, port: int = 0) -> ScriptedServer:
    """Return a server whose every client gets the stream; it is patient with a client that stops reading."""
    return ScriptedServer(stream, port=port, timeout=120.0)
