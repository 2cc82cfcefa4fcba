"""The one deadline over all steps of making a connection, and a blocking socket for the libraries that need one.

The rule: whatever waits while a connection is made waits in `Opening.wait`, which ends at the deadline and at a stop.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping

from ingest.clock import Deadline, Monotonic, monotonic
from ingest.connection.http1 import end_of_head
from ingest.connection.stream import Stream
from ingest.connection.wakeup import Wakeup
from ingest.errors import ConnectionDropped, DialFailed, OpenTimedOut, Stopped

#: Seconds between two looks at ``stopping``, for a stop that comes without a wake-up.
LOOK_EVERY = 0.2

_NEVER = float("inf")


class Opening:
    """One attempt to open a connection: its deadline, its current step, and the way to interrupt it."""

    def __init__(
        self, seconds: float, wakeup: Wakeup, stopping: Callable[[], bool], clock: Monotonic = monotonic, step: str = "dns"
    ) -> None:
        self.step = step
        self._deadline = Deadline(seconds, clock)
        self._clock = clock
        self._wakeup = wakeup
        self._stopping = stopping
        self._woken = False

    def remaining(self) -> float:
        """Return the seconds left; raise `Stopped` or `OpenTimedOut` where there are none."""
        if self._stopping():
            raise Stopped
        if self._deadline.expired:
            raise OpenTimedOut(self.step, self._deadline.seconds)
        return self._deadline.remaining()

    def wait(self, interest: Mapping[int, int], at_most: float = _NEVER) -> list[int]:
        """Wait for one of the descriptors (with its poll events); return those ready, none after ``at_most`` seconds."""
        poller = select.poll()
        poller.register(self._wakeup.fileno(), select.POLLIN)
        for descriptor, events in interest.items():
            poller.register(descriptor, events)
        until = self._clock() + at_most
        while True:
            patience = min(self.remaining(), LOOK_EVERY, max(0.0, until - self._clock()))
            ready = [descriptor for descriptor, _ in poller.poll(patience * 1000)]
            if self._wakeup.fileno() in ready:
                ready.remove(self._wakeup.fileno())
                self._wakeup.clear()
                self._woken = True
            if ready or self._clock() >= until:
                return ready

    def wait_for_input(self, stream: Stream, at_most: float = _NEVER) -> None:
        """Wait until a stream may have more to read, writing what it has to write meanwhile."""
        try:
            events = select.POLLIN if stream.flush() else select.POLLIN | select.POLLOUT
        except ConnectionDropped as error:
            raise self.failed(error.detail) from error
        self.wait({stream.fileno(): events}, at_most)

    def finish(self) -> None:
        """Set the wake-up again if one came that was no stop: it was meant for whoever waits next."""
        if self._woken:
            self._wakeup.set()

    def failed(self, detail: str) -> DialFailed:
        """Return the error that says that the current step failed."""
        return DialFailed(self.step, detail)


class OpeningSocket:
    """A stream as a blocking socket, every wait of which is the opening's."""

    def __init__(self, stream: Stream, opening: Opening) -> None:
        self._stream = stream
        self._opening = opening
        self._unread = bytearray()

    def recv(self, count: int) -> bytes:
        """Return 1 to ``count`` bytes; the stream's end is an error of the current step."""
        if not self._unread:
            self._unread += self._more()
        data = bytes(self._unread[:count])
        del self._unread[:count]
        return data

    def send(self, data: bytes) -> int:
        """Send all of ``data``: a caller that ignores the count loses nothing."""
        try:
            self._stream.queue(data)
            while not self._stream.flush():
                self._opening.wait({self._stream.fileno(): select.POLLOUT})
        except ConnectionDropped as error:
            raise self._opening.failed(error.detail) from error
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``."""
        self.send(data)

    def gettimeout(self) -> float:
        """Return the seconds left of the opening."""
        return self._opening.remaining()

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def read_head(self, limit: int) -> bytes:
        """Return the response head that comes next, what follows it being left unread.

        Raises ValueError as soon as it is known to be longer than ``limit`` bytes.
        """
        searched = 0
        while (end := end_of_head(self._unread, searched)) is None and len(self._unread) <= limit:
            searched = len(self._unread)
            self._unread += self._more()
        if end is None or end > limit:
            raise ValueError(f"an answer whose head is longer than {limit} bytes")
        return self.recv(end)

    def read_some(self, at_most: float) -> bytes:
        """Return what is there or comes within ``at_most`` seconds; nothing at the stream's end."""
        if not self._unread and not self._pull() and self._stream.ended is None:
            self._opening.wait_for_input(self._stream, at_most)
            self._pull()
        return self.leftover()

    def leftover(self) -> bytes:
        """Return and forget what was received and not read."""
        data = bytes(self._unread)
        self._unread.clear()
        return data

    def _pull(self) -> bool:
        self._unread += self._stream.receive()
        return bool(self._unread)

    def _more(self) -> bytes:
        while not (data := self._stream.receive()):
            if self._stream.ended is not None:
                raise self._opening.failed(self._stream.ended)
            self._opening.wait_for_input(self._stream)
        return data
