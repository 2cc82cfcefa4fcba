"""One accepted socket, plain or TLS, whose every wait ends: at a deadline, at the peer's end, or at the server's stop.

The rule: no protocol here; what comes is bytes, and nothing blocks longer than it was told to.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time

from ingest.clock import Deadline

#: How long what is under way may go on after the server was asked to stop, in seconds.
GRACE = 1.0

#: For waits that only the stop, or the client, ends.
FOREVER = float("inf")

_READ_BYTES = 65536


class StopSignal:
    """Tells every thread of a server at once that the end has come; wakes those that wait for a socket."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._stopped_at: float | None = None

    def set(self) -> None:
        """Ask everything to end."""
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
            self._writer.send(b"\0")

    @property
    def is_set(self) -> bool:
        return self._stopped_at is not None

    def remaining_grace(self) -> float:
        """Return the seconds that are left for what is under way, without end before the stop."""
        return FOREVER if self._stopped_at is None else max(0.0, self._stopped_at + GRACE - time.monotonic())

    def wait(self, seconds: float | None) -> bool:
        """Wait for the stop, at most ``seconds``; return whether it came."""
        select.select([self._reader], [], [], seconds)
        return self.is_set

    def wait_readable(self, sock: socket.socket, deadline: Deadline, *, patient: bool) -> bool:
        """Wait until ``sock`` has bytes (True), or the deadline or the stop came (False); the patient wait out the grace."""
        while True:
            watched = [sock] if self.is_set else [sock, self._reader]
            seconds = min(deadline.remaining(), self.remaining_grace() if patient or not self.is_set else 0.0)
            readable, _, _ = select.select(watched, [], [], None if seconds == FOREVER else seconds)
            if sock in readable:
                return True
            if not (patient and self._reader in readable):
                return False

    def close(self) -> None:
        """Free the sockets; only when no thread waits any more."""
        self._reader.close()
        self._writer.close()


class Stream:
    """The socket of one client."""

    def __init__(self, sock: socket.socket, stop: StopSignal, timeout: float) -> None:
        self._sock = sock
        self._stop = stop
        self._timeout = timeout
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the TLS handshake as its server; ``OSError`` if the client does not like us."""
        self._sock = context.wrap_socket(self._sock, server_side=True)

    def receive(self, deadline: Deadline, *, patient: bool) -> bytes | None:
        """Return what has come, ``b""`` once the client is gone, or None if nothing came by the deadline or the stop."""
        pending = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0
        if not pending and not self._stop.wait_readable(self._sock, deadline, patient=patient):
            return None
        try:
            return self._sock.recv(_READ_BYTES)
        except TimeoutError:
            return None
        except OSError:
            return b""

    def send(self, data: bytes) -> bool:
        """Send all of ``data``; False if the client is gone, `AssertionError` if it does not take it."""
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise AssertionError(f"the client did not take what was sent within {self._timeout:g} s") from None
        except OSError:
            return False
        return True

    def reset(self) -> None:
        """End the TCP connection with a reset, as a crashed host would."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def finish(self) -> None:
        """End the TCP connection in order: everything that was sent arrives, then the end of the stream."""
        with contextlib.suppress(OSError):
            self._sock.settimeout(GRACE)
            if isinstance(self._sock, ssl.SSLSocket):
                self._sock.unwrap().close()
            else:
                self._sock.shutdown(socket.SHUT_WR)
                self._discard()
        self._sock.close()

    def abort(self) -> None:
        """Wake the thread that uses this socket, from another one: whatever it does fails now."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # not SSLSocket's own: it drops its state under the other's feet

    def _discard(self) -> None:
        """Read the client's rest: closing a socket with unread bytes would reset it, and cut off what we sent last."""
        deadline = Deadline(GRACE)
        while self._stop.wait_readable(self._sock, deadline, patient=True):
            if not self._sock.recv(_READ_BYTES):
                return
