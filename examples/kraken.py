"""A session for Kraken's spot market data (WebSocket API v2), written to be copied and changed.

Use it in ``feeds.toml``::

    [feeds.kraken]
    url = "wss://ws.kraken.com/v2"           # or ws://127.0.0.1:8765/v2 of `python -m ingest simulate`
    session = "examples.kraken:KrakenSession"
    session_args = { symbols = ["BTC/USD", "ETH/USD"], channels = ["trade", "book"], depth = 10 }
    heartbeat = { interval = 30 }            # the venue's own ping; it closes connections that are silent for a minute
    idle_timeout = 10                        # the venue sends a heartbeat a second, so ten seconds of nothing are an outage
    actor = "handle_market_data"

What reaches the actor is one JSON value per trade, and one per change of a book:

    {"channel": "trade", "symbol": "BTC/USD", "side": "buy", "price": "65000.1", "qty": "0.01000000", "trade_id": 7, …}
    {"channel": "book", "symbol": "BTC/USD", "bids": [["65000.0", "1.50000000"], …], "asks": […], "timestamp": "…"}

Prices and quantities are strings, exactly as the venue wrote them: a float would lose digits that the checksum counts, and
money is not a float anyway. A book is always whole (its ``depth`` best levels), because workers run side by side: a message
that only says what changed would be of no use to a worker that has not seen the one before.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from ingest import Emit, Fail, Session, Skip

#: The venue computes its checksum over so many levels of each side, whatever the depth.
CHECKSUM_LEVELS = 10


class KrakenSession(Session):
    """Subscribe, wait until every subscription is acknowledged, then emit trades and checked books.

    Everything here is made anew for every connection, so nothing of the last one can leak into the next: the books are
    rebuilt from the snapshots that the venue sends after each subscription.
    """

    awaits_ready = True

    def setup(self, symbols: Sequence[str], channels: Sequence[str] = ("trade",), depth: int = 10) -> None:
        """Take the feed's ``session_args``."""
        self.symbols = list(symbols)
        self.channels = list(channels)
        self.depth = depth
        self.unacknowledged = {(channel, symbol) for channel in channels for symbol in symbols}
        self.books: dict[str, Book] = {}

    def on_upgrade(self) -> Sequence[str]:
        """Subscribe: one request per channel, for all symbols at once."""
        return [self._subscription(number, channel) for number, channel in enumerate(self.channels, start=1)]

    def on_frame(self, payload: str | bytes) -> Emit | Skip | Fail:
        """Sort a message by what it is about; what is neither data nor an answer (heartbeat, status) only shows life."""
        message = json.loads(payload, parse_float=str)
        match message.get("channel"):
            case "trade":
                return Emit(*({"channel": "trade", **trade} for trade in message["data"]))
            case "book":
                return self._on_book(message["type"], message["data"][0])
        if message.get("success") is False:
            return Fail(f"{message.get('method', 'request')} refused: {message.get('error')}")
        if message.get("method") == "subscribe":
            return self._on_acknowledgement(message["result"])
        return Skip()

    def heartbeat(self) -> Sequence[str]:
        """Ask for a sign of life in the venue's own way, every ``heartbeat.interval`` seconds."""
        return ['{"method":"ping"}']

    def _subscription(self, number: int, channel: str) -> str:
        params: dict[str, Any] = {"channel": channel, "symbol": self.symbols}
        if channel == "book":
            params["depth"] = self.depth
        return json.dumps({"method": "subscribe", "params": params, "req_id": number})

    def _on_acknowledgement(self, granted: dict[str, Any]) -> Skip:
        """Tick one subscription off. Venues do forget some of many, so the feed is ready only when none is left."""
        self.unacknowledged.discard((granted["channel"], granted["symbol"]))
        return Skip(ready=not self.unacknowledged)

    def _on_book(self, kind: str, data: dict[str, Any]) -> Emit | Fail:
        symbol = data["symbol"]
        if kind == "snapshot":
            self.books[symbol] = Book(self.depth)
        book = self.books.get(symbol)
        if book is None:
            return Fail(f"an update of the book of {symbol} came before its snapshot")
        book.apply(data)
        if book.checksum() != data["checksum"]:
            # Something was missed. A new connection brings a new snapshot, and the backoff keeps that from being a busy loop.
            return Fail(f"the book of {symbol} does not have the checksum {data['checksum']}")
        levels = {"bids": book.bids.levels.copy(), "asks": book.asks.levels.copy()}  # what is emitted must not change any more
        return Emit({"channel": "book", "symbol": symbol, **levels, "timestamp": data.get("timestamp")})


class Book:
    """The best levels of one symbol, put together from a snapshot and what changed since."""

    def __init__(self, depth: int) -> None:
        self.bids = Side(depth, best_is_highest=True)
        self.asks = Side(depth, best_is_highest=False)

    def apply(self, data: dict[str, Any]) -> None:
        """Take over a snapshot's or an update's levels."""
        for side, changes in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            for change in changes:
                side.set(change["price"], change["qty"])
            side.forget_the_rest()

    def checksum(self) -> int:
        """Return the CRC-32 as the venue defines it: ten best asks, then ten best bids, price and quantity as bare digits."""
        levels = self.asks.levels[:CHECKSUM_LEVELS] + self.bids.levels[:CHECKSUM_LEVELS]
        return zlib.crc32("".join(_digits(price) + _digits(qty) for price, qty in levels).encode())


class Side:
    """Bids or asks, best first; ``levels`` are pairs of price and quantity as the venue wrote them."""

    def __init__(self, depth: int, *, best_is_highest: bool) -> None:
        self.levels: list[tuple[str, str]] = []
        self._keys: list[float] = []  # what the levels are sorted by: ascending from the best
        self._sign = -1 if best_is_highest else 1
        self._depth = depth

    def set(self, price: str, qty: str) -> None:
        """Put a quantity at a price; none at all removes the level."""
        key = self._sign * float(price)
        place = bisect_left(self._keys, key)
        known = place < len(self._keys) and self._keys[place] == key
        if known:
            del self._keys[place], self.levels[place]
        if float(qty) > 0:
            self._keys.insert(place, key)
            self.levels.insert(place, (price, qty))

    def forget_the_rest(self) -> None:
        """Drop the levels beyond the depth: the venue sends no more changes of them."""
        del self._keys[self._depth :], self.levels[self._depth :]


def _digits(number: str) -> str:
    return number.replace(".", "").lstrip("0")
