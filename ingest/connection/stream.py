"""A byte stream that never waits: what `transport` and `opening` read and write, over TCP or (`tls`) over TLS.

The rule: ``receive`` and ``flush`` do what can be done now; who has to wait waits on ``fileno``.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import struct
from contextlib import suppress
from typing import Protocol

from ingest.errors import ConnectionDropped

#: What one read takes at most.
READ_BYTES = 256 * 1024


def read_buffer() -> memoryview:
    """Return a buffer of `READ_BYTES`, of which only those pages are in memory that something was ever read into.

    Into a buffer that stays, because memory that the system gives for a read and takes back after it costs more than the read.
    """
    return memoryview(mmap.mmap(-1, READ_BYTES))


class Stream(Protocol):
    """A byte stream that never waits."""

    ended: str | None
    """Why no more will come; None while more may."""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""

    def receive(self) -> bytes:
        """Return all that one read of the socket brings; nothing where nothing is there, or at the end (``ended``)."""

    def queue(self, data: bytes) -> None:
        """Take ``data`` for sending; `flush` sends it. Raises `ConnectionDropped` where nothing can be sent any more."""

    def flush(self) -> bool:
        """Send what can be sent; tell whether that was all. Raises `ConnectionDropped`."""

    def end(self) -> None:
        """Tell the other side, as far as that is possible without waiting, that nothing more will be sent."""

    def close(self) -> None:
        """Free the socket; what is sent and not yet delivered still goes out."""

    def abort(self) -> None:
        """Free the socket and reset the connection: nothing of it stays in the system."""


class TCPStream:
    """A connected TCP socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._buffer = read_buffer()
        self._unsent = bytearray()
        self.ended: str | None = None

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> bytes:
        try:
            count = self._socket.recv_into(self._buffer)
        except BlockingIOError:
            return b""
        except OSError as error:
            self.ended = self.ended or describe(error)
            return b""
        if not count:
            self.ended = "the peer ended the stream"
        return bytes(self._buffer[:count])

    def queue(self, data: bytes) -> None:
        self._unsent += data

    def flush(self) -> bool:
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                return False
            except OSError as error:
                raise ConnectionDropped(describe(error)) from error
            del self._unsent[:sent]
        return True

    def end(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.ended = self.ended or "closed by us"
        with suppress(OSError):  # a reset that is reported here has freed the descriptor all the same
            self._socket.close()

    def abort(self) -> None:
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def describe(error: OSError) -> str:
    """Return the system's own words for an error, without numbers and addresses."""
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return "the peer reset the connection"
    return os.strerror(error.errno) if error.errno else type(error).__name__
