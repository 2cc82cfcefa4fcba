"""A numbered stream: a live source that goes on counting over all its connections, and notes what it sent on which.

The rule: a number is noted before it is sent, so what a connection lost at its end is always a tail of what was noted for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ingest.testing import ScriptedConnection, ScriptedServer
from ingest.testing.server import Script
from tests.support.frames import TEXT, frame
from tests.support.waiting import wait_until

#: Seconds between two blocks of numbers.
TICK = 0.005

#: Seconds to look for what the client says where the numbers leave without a pause.
GLANCE = 0.0005


class NumberedStream:
    """The script of a `ScriptedServer`; its verbs are for the test's own thread and act on the newest connection.

    ``rate`` is in numbers per second and may be changed at any time (None: ``block`` at a time, as fast as the client takes it).
    ``size`` pads each frame to so many bytes (`number_of` gets the number back). It begins with ``first``, stops after ``limit``,
    and listens. ``note`` is told (connection, first, last) of every block before it is sent.
    """

    def __init__(
        self,
        rate: float | None = 2000.0,
        *,
        size: int = 0,
        block: int = 500,
        first: int = 1,
        limit: float = float("inf"),
        note: Callable[[int, int, int], object] = lambda *block: None,
    ) -> None:
        self.rate = rate
        self.size = size
        self.block = block
        self.limit = limit
        #: What was sent on each connection, in order; a connection that never got a number has an empty list.
        self.connections: list[list[int]] = []
        #: The highest number so far.
        self.last = first - 1
        self._note = note
        self._lock = threading.Lock()
        self._going = threading.Event()
        self._going.set()
        self._thawed = threading.Event()
        self._thawed.set()
        self._verb: str | None = None

    # -- for the test

    @property
    def newest(self) -> int:
        """The last number of the newest connection; a dead one before it may go on to higher ones, which nobody reads."""
        return next((sent[-1] for sent in reversed(self.connections) if sent), 0)

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

    def wait_for(self, number: int, timeout: float = 60.0) -> None:
        """Wait until so many numbers have been sent."""
        wait_until(lambda: self.last >= number, timeout, f"number {number} (sent: {self.last})")

    def _do(self, verb: str) -> None:
        self._verb = verb
        wait_until(lambda: self._verb is None, 60, f"the stream's {verb}")

    # -- the script

    def __call__(self, client: ScriptedConnection) -> None:
        """Serve one client until it leaves, or a verb ends the connection."""
        client.accept()
        sent = self._connected()
        began, done = time.monotonic(), 0
        while not client.recording.left:
            if not self._thawed.is_set():
                client.stall(TICK)
            elif self._verb is not None and sent is self.connections[-1]:
                self._end(client)
                return
            else:
                count = self._due(time.monotonic() - began, done) if self._going.is_set() else 0
                count = self._send(client, sent, count)
                done += count
                client.listen(TICK if self.rate is not None or not count else GLANCE)
            if not (self._going.is_set() and self._thawed.is_set()):
                began, done = time.monotonic(), 0  # what was not sent in a pause is not made up for

    def burst(self, client: ScriptedConnection, count: int, sent: list[int] | None = None, then: bytes = b"") -> list[int]:
        """Send so many numbers at once, in a script that goes on by itself; return what its connection was sent.

        Hand that back for a further burst on the same connection. ``then`` are bytes to send in the same write.
        """
        if sent is None:
            client.accept()
            sent = self._connected()
        texts = [self.payload(number).encode() for number in self._take(sent, count)]
        client.send_raw(b"".join(frame(TEXT, text) for text in texts) + then)
        return sent

    def _connected(self) -> list[int]:
        with self._lock:
            self.connections.append([])
            return self.connections[-1]

    def _due(self, elapsed: float, done: int) -> int:
        return self.block if self.rate is None else int(self.rate * elapsed) - done

    def _send(self, client: ScriptedConnection, sent: list[int], count: int) -> int:
        numbers = self._take(sent, count)
        if numbers:
            client.send(*[self.payload(number) for number in numbers])
        return len(numbers)

    def _take(self, sent: list[int], count: int) -> range:
        """Note the next numbers as sent on a connection, and return them."""
        with self._lock:
            count = int(max(0, min(count, self.limit - self.last)))
            numbers = range(self.last + 1, self.last + 1 + count)
            self.last += count
            sent.extend(numbers)
            if numbers:
                self._note(next(i for i, known in enumerate(self.connections) if known is sent), numbers[0], numbers[-1])
            return numbers

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


def numbered_server(stream: NumberedStream, *before: Script, **options: Any) -> ScriptedServer:
    """Return a server whose clients get the stream, but the first ones the scripts ``before``.

    It is patient with a client that stops reading; ``options`` are those of `ScriptedServer`.
    """
    return ScriptedServer(*before, stream, timeout=120.0, **options)
