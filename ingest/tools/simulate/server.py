"""The simulated exchange on a real socket: clients, the clock that moves the markets, and the faults.

The rule: one event loop, and between two of its turns every client has seen the same market.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ingest.tools.simulate import wire
from ingest.tools.simulate.client import Client
from ingest.tools.simulate.faults import Fault
from ingest.tools.simulate.market import Market
from ingest.tools.simulate.protocol import Conversation

#: The library logs every client that leaves in an unusual way; here that is daily business.
LOGGER = logging.getLogger("ingest.tools.simulate")
LOGGER.addHandler(logging.NullHandler())
LOGGER.propagate = False

PATH = "/v2"

_HEARTBEAT_AFTER = 1.0
_SHORTEST_TICK = 0.005
_LONGEST_TICK = 0.05
_MOST_BEHIND = 0.25  # seconds' worth of messages that are made up for after the process was held up
_MOST_AT_ONCE = 1000  # messages in one turn of the event loop: pings and requests wait no longer than these take


class Exchange:
    """The markets and everybody who watches them. ``rate`` is messages per second for who subscribes to everything."""

    def __init__(self, symbols: Sequence[str], seed: int, rate: float, idle_timeout: float) -> None:
        self._markets = {symbol: Market(symbol, seed, _now()) for symbol in symbols}
        self._rate = rate
        self._idle_timeout = idle_timeout
        self._clients: list[Client] = []
        self._connection_ids = itertools.count(seed * 1_000_000 + 1)
        self._refusing_until = 0.0
        self._running = asyncio.Event()  # not set: the exchange hangs
        self._running.set()

    # -- connections

    async def answer_upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse the upgrade (503 during an outage, 404 for a wrong path), or return None to take it."""
        await self._running.wait()
        remaining = self._refusing_until - time.monotonic()
        if remaining > 0:
            response = connection.respond(503, "the exchange is down for maintenance\n")
            response.headers["Retry-After"] = str(math.ceil(remaining))
            return response
        if request.path.partition("?")[0] != PATH:
            return connection.respond(404, f"there is only {PATH}\n")
        return None

    async def serve(self, connection: ServerConnection) -> None:
        """Talk with one client until it leaves, or was idle for too long."""
        client = Client(connection, Conversation(self._markets))
        self._clients.append(client)
        try:
            client.write([wire.status(next(self._connection_ids))])
            while True:
                message = await client.receive(self._idle_timeout)
                if message is not None:
                    client.write(client.conversation.receive(message, _now()))
                elif not client.conversation.subscribed:
                    await client.close(1000, "idle")
        except ConnectionClosed:
            pass
        finally:
            self._clients.remove(client)

    # -- the market

    async def run_markets(self) -> None:
        """Move the markets at the given rate for ever, and send heartbeats where that leaves silence."""
        tick = min(_LONGEST_TICK, max(_SHORTEST_TICK, 1 / self._rate if self._rate else _LONGEST_TICK))
        symbols = itertools.cycle(self._markets)
        due, last = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(tick)
            await self._running.wait()
            now = time.monotonic()
            listeners = [client for client in self._clients if client.conversation.subscribed]
            due = min(due + (now - last) * self._rate, max(1.0, self._rate * _MOST_BEHIND)) if listeners else 0.0
            last = now
            due -= self._advance(symbols, min(math.floor(due), _MOST_AT_ONCE), listeners)
            for client in listeners:
                if now - client.sent_at >= _HEARTBEAT_AFTER:
                    client.write([wire.HEARTBEAT])

    def _advance(self, symbols: Iterator[str], count: int, listeners: Sequence[Client]) -> int:
        """Let at least ``count`` messages happen, tell the listeners, and return how many it were."""
        now = _now()
        outgoing: list[list[str]] = [[] for _ in listeners]
        done = 0
        while done < count:
            symbol = next(symbols)
            for happening in self._markets[symbol].step(now):
                done += 1
                for client, texts in zip(listeners, outgoing, strict=True):
                    text = client.conversation.render(symbol, happening, now)
                    if text is not None:
                        texts.append(text)
        for client, texts in zip(listeners, outgoing, strict=True):
            client.write(texts)
        return done

    # -- bad days

    async def run_faults(self, faults: Iterable[Fault]) -> None:
        """Do what the plan says, when it says so."""
        for fault in faults:
            await asyncio.sleep(fault.after)
            match fault.kind:
                case "drop":
                    self._drop(fault.choice)
                case "stall":
                    await self._stall(fault.lasting)
                case "restart":
                    self._refusing_until = time.monotonic() + fault.lasting
                    await asyncio.gather(*(client.close(1012, "service restart") for client in list(self._clients)))
                case "refuse":
                    self._refusing_until = time.monotonic() + fault.lasting
                    for client in list(self._clients):
                        client.drop()

    def _drop(self, choice: float) -> None:
        if self._clients:
            self._clients[int(choice * len(self._clients))].drop()

    async def _stall(self, seconds: float) -> None:
        stalled = list(self._clients)
        self._running.clear()
        for client in stalled:
            client.pause()
        await asyncio.sleep(seconds)
        for client in stalled:
            client.resume()
        self._running.set()


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
