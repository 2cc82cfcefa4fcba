"""One client of the simulated exchange: its socket, and what was said so far.

The rule: everything to a client leaves through `write`, in one piece and without waiting; who does not read is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Iterable

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from ingest.tools.simulate.protocol import Conversation

#: A client that lets so much pile up does not read, and is cut off, as a venue does.
MOST_UNREAD_BYTES = 16 * 1024 * 1024


class Client:
    """A connection with its conversation."""

    def __init__(self, connection: ServerConnection, conversation: Conversation) -> None:
        self.conversation = conversation
        self.sent_at = time.monotonic()
        self._connection = connection
        self._transport: asyncio.Transport = connection.transport

    def write(self, texts: Iterable[str]) -> None:
        """Send text messages.

        The frames are made by the library, but all of them go to the transport at once: its own `send` costs a system call
        and a turn of the event loop each, too much for the rates of a benchmark.
        """
        frames = b"".join([Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts])
        if not frames or self._connection.state is not State.OPEN:
            return
        self._transport.write(frames)
        self.sent_at = time.monotonic()
        if self._transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            self.drop()

    async def receive(self, timeout: float) -> str | bytes | None:
        """Return the client's next message, or None if none came for ``timeout`` seconds; `ConnectionClosed` at the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                return await self._connection.recv()
        return None

    async def close(self, code: int, reason: str) -> None:
        """Close in order; a client that does not answer is cut off by the library's ``close_timeout``."""
        with contextlib.suppress(ConnectionClosed):
            await self._connection.close(code, reason)

    def drop(self) -> None:
        """End the TCP connection with a reset, without a close frame."""
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def pause(self) -> None:
        """Stop reading; together with writing nothing this is a host that hangs."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._transport.resume_reading()
