"""A record as a WebSocket server: the first client gets the first recorded connection, the second the second, and so on.

The rule: what a client does is noted and never needed, except where it is told to be waited for, and then only for so long.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ingest.clock import monotonic
from ingest.records.connections import NO_CODE, Await, Close, Cut, Finish, Linger, Send, Step, Survey, steps_of
from ingest.records.format import PING, TEXT
from ingest.records.reading import RecordReader

LOGGER = logging.getLogger("ingest.tools.replay")
LOGGER.addHandler(logging.NullHandler())
LOGGER.propagate = False

#: Seconds for which a recorded frame of the client's is waited for.
PATIENCE = 10.0

#: Seconds for which a client that was to leave by itself is kept.
LINGERING = 10.0

_LONGEST_MESSAGE = 16 * 1024 * 1024

Waits = Literal["subscribe", "all", "none"]


@dataclass(frozen=True, slots=True)
class Serving:
    """What to serve, and how: ``speed`` is recorded seconds in one (None: at once)."""

    path: Path
    survey: Survey
    host: str
    port: int
    speed: float | None
    loop: bool
    waits: Waits


async def serve_record(serving: Serving) -> int:
    """Serve until the last connection was played, or until asked to end; return the exit code: 0, or 2 for a port in use."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    player = Player(serving, stop)
    try:
        server = await serve(
            player.play,
            serving.host,
            serving.port,
            process_request=player.answer,
            select_subprotocol=player.choose,
            compression=None,
            ping_interval=None,
            close_timeout=1,
            max_size=_LONGEST_MESSAGE,
            logger=LOGGER,
        )
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) or not error.errno else os.strerror(error.errno)
        print(f"cannot listen on {serving.host}:{serving.port}: {reason}", file=sys.stderr)
        return 2
    async with server:
        print(f"listening on {_url(server)}", flush=True)
        await stop.wait()
    print(f"played {player.played} connections, {player.frames} frames sent")
    return 0


class Player:
    """Hands out the recorded connections in order."""

    def __init__(self, serving: Serving, over: asyncio.Event) -> None:
        self.played = 0
        self.frames = 0
        self._serving = serving
        self._over = over
        self._next = 0
        self._at_work = 0
        self._numbers: dict[ServerConnection, int] = {}

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Take the upgrade (None), or refuse it: as recorded, or because nothing is left to play."""
        recorded = self._serving.survey.connections
        if self._next >= len(recorded) and not self._serving.loop:
            return _response(503, "the record has been played\n")
        number = self._next % len(recorded)
        self._next += 1
        taken = recorded[number]
        if taken.status is not None:
            self._played()
            return _response(taken.status, "as recorded\n", taken.retry_after)
        self._numbers[connection] = number
        self._at_work += 1
        return None

    def choose(self, connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        """Choose the recorded subprotocol, if the client offers it."""
        number = self._numbers.get(connection)
        recorded = self._serving.survey.connections[number].subprotocol if number is not None else None
        return next((each for each in offered if each == recorded), None)

    async def play(self, connection: ServerConnection) -> None:
        """Play one connection."""
        number = self._numbers.pop(connection)
        client = _Client(connection)
        listening = asyncio.create_task(client.listen())
        try:
            with RecordReader(self._serving.path) as record:
                began = monotonic()
                for step in steps_of(record, number):
                    if isinstance(step, Cut) and step.silent:
                        connection.transport.pause_reading()
                    if not await self._is_due(client, step.at_us, began) or not await self._do(client, step):
                        break
        except ConnectionClosed:
            pass
        finally:
            listening.cancel()
            self._at_work -= 1
            self._played()

    def _played(self) -> None:
        self.played += 1
        if not self._serving.loop and self._at_work == 0 and self._next >= len(self._serving.survey.connections):
            self._over.set()

    async def _is_due(self, client: _Client, at_us: int, began: float) -> bool:
        """Wait until a step is due; False if the client leaves first."""
        if self._serving.speed is None:
            return True
        seconds = began + at_us / 1_000_000 / self._serving.speed - monotonic()
        return seconds <= 0 or not await client.leaves_within(seconds)

    async def _do(self, client: _Client, step: Step) -> bool:
        """Do a step; tell whether there may be another."""
        match step:
            case Send(entry=entry) if entry.opcode == PING:
                with contextlib.suppress(RuntimeError):  # the same is under way already
                    await client.connection.ping(entry.payload)
            case Send(entry=entry):
                await client.connection.send(entry.payload, text=entry.opcode == TEXT)
                self.frames += 1
            case Await(subscribes=subscribes):
                if self._serving.waits == "all" or (self._serving.waits == "subscribe" and subscribes):
                    await client.said_one_more(PATIENCE)
            case Close(code=code, reason=reason):
                await client.close(None if code == NO_CODE else code, reason)
                return False
            case Cut():
                client.cut()
                return False
            case Linger():
                await client.leaves_within(LINGERING)
                return False
            case Finish():
                await client.close(1000, "the record ends here")
                return False
        return True


class _Client:
    """One client: what it says is counted."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self._said = 0
        self._awaited = 0
        self._news = asyncio.Event()

    async def listen(self) -> None:
        """Take in all that the client says, until it leaves."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.connection.recv()
                self._said += 1
                self._news.set()

    async def said_one_more(self, seconds: float) -> None:
        """Wait until the client has said as much as was awaited so far, and one more."""
        self._awaited += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._said < self._awaited:
                    self._news.clear()
                    await self._news.wait()
        self._awaited = min(self._awaited, self._said)  # what did not come is not waited for again

    async def leaves_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.connection.wait_closed()
        except TimeoutError:
            return False
        return True

    async def close(self, code: int | None, reason: str) -> None:
        await self.connection.close(code, reason)  # type: ignore[arg-type]  # None: a close frame without a code

    def cut(self) -> None:
        """End the TCP connection: in order, since a reset would take with it what the client has not read yet."""
        self.connection.transport.close()


def _response(status: int, text: str, retry_after: float | None = None) -> Response:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = "as recorded"
    body = text.encode()
    headers = Headers({"Content-Type": "text/plain", "Content-Length": str(len(body)), "Connection": "close"})
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:.0f}"
    return Response(status, phrase, headers, body)


def _url(server: Server) -> str:
    host, port = next(iter(server.sockets)).getsockname()[:2]
    return f"ws://[{host}]:{port}/" if ":" in host else f"ws://{host}:{port}/"
