"""The requests of one client and the answers of the venue, as Kraken v2 gives them.

The rule: pure; a text comes in, texts go out, and what the client is subscribed to is all the state there is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ingest.tools.simulate import wire
from ingest.tools.simulate.market import BookChange, Market, Trade

DEPTHS = (10, 25, 100, 500, 1000)


class Refusal(Exception):
    """A request, or one symbol of it, that the venue does not grant; the text is the venue's."""


class Conversation:
    """What one client is subscribed to, and the answers to what it asks."""

    def __init__(self, markets: Mapping[str, Market]) -> None:
        self._markets = markets
        #: Depth by symbol, for the book.
        self.books: dict[str, int] = {}
        #: Symbols, for trades.
        self.trades: set[str] = set()

    @property
    def subscribed(self) -> bool:
        return bool(self.books or self.trades)

    def receive(self, message: str | bytes, now: str) -> list[str]:
        """Return the answers to one message of the client, snapshots included."""
        request = _parsed(message)
        method = request.get("method")
        try:
            match method:
                case "ping":
                    return [wire.pong(request, now)]
                case "subscribe":
                    return self._subscribe(request, now)
                case "unsubscribe":
                    return self._unsubscribe(request, now)
                case str():
                    raise Refusal("Method(s) not found")
                case _:
                    raise Refusal("Malformed request")
        except Refusal as refusal:
            return [wire.refused(method, str(refusal), request, now)]

    def render(self, symbol: str, happening: BookChange | Trade, now: str) -> str | None:
        """Return how this client is told of something, or None where it did not ask."""
        if isinstance(happening, BookChange):
            depth = self.books.get(symbol)
            return None if depth is None else wire.book_update(symbol, happening, depth, now)
        return wire.trades("update", symbol, (happening,)) if symbol in self.trades else None

    def _subscribe(self, request: Mapping[str, Any], now: str) -> list[str]:
        channel, symbols, params = _checked(request)
        answers: list[str] = []
        for symbol in symbols:
            try:
                answers += self._grant(channel, symbol, params, request, now)
            except Refusal as refusal:
                answers.append(wire.refused("subscribe", str(refusal), request, now, symbol))
        return answers

    def _grant(self, channel: str, symbol: str, params: Mapping[str, Any], request: Mapping[str, Any], now: str) -> list[str]:
        market = self._markets.get(symbol)
        if market is None:
            raise Refusal(f"Currency pair not supported {symbol}")
        if symbol in (self.books if channel == "book" else self.trades):
            raise Refusal("Already subscribed")
        if channel == "book":
            depth, wanted = _depth(params), _flag(params, default=True)
            self.books[symbol] = depth
            result = {"channel": channel, "depth": depth, "snapshot": wanted, "symbol": symbol}
            snapshot = wire.book_snapshot(market.book, depth, now)
        else:
            wanted = _flag(params, default=False)
            self.trades.add(symbol)
            result = {"channel": channel, "snapshot": wanted, "symbol": symbol}
            snapshot = wire.trades("snapshot", symbol, market.trades)
        acknowledgement = wire.accepted("subscribe", result, request, now)
        return [acknowledgement, snapshot] if wanted else [acknowledgement]

    def _unsubscribe(self, request: Mapping[str, Any], now: str) -> list[str]:
        channel, symbols, params = _checked(request)
        depth = _depth(params) if channel == "book" else None
        answers = []
        for symbol in symbols:
            result: dict[str, Any] = {"channel": channel, "symbol": symbol}
            if channel == "trade" and symbol in self.trades:
                self.trades.remove(symbol)
            elif channel == "book" and self.books.get(symbol) == depth:
                del self.books[symbol]
                result["depth"] = depth
            else:
                answers.append(wire.refused("unsubscribe", "Subscription Not Found", request, now, symbol))
                continue
            answers.append(wire.accepted("unsubscribe", result, request, now))
        return answers


def _parsed(message: str | bytes) -> Mapping[str, Any]:
    try:
        request = json.loads(message)
    except ValueError:  # no JSON, or no UTF-8 in a binary message
        return {}
    return request if isinstance(request, dict) else {}


def _checked(request: Mapping[str, Any]) -> tuple[str, Sequence[str], Mapping[str, Any]]:
    """Return the channel, the symbols and all parameters of a request to subscribe or to unsubscribe."""
    params = request.get("params")
    if not isinstance(params, dict):
        raise Refusal("Malformed request")
    channel, symbols = params.get("channel"), params.get("symbol")
    if channel not in ("book", "trade"):
        raise Refusal("Subscription name invalid")
    if not isinstance(symbols, list) or not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        raise Refusal("Malformed request")
    if channel == "book":
        _depth(params)  # a wrong depth is the whole request's fault, not each symbol's
    return channel, symbols, params


def _depth(params: Mapping[str, Any]) -> int:
    depth = params.get("depth", DEPTHS[0])
    if not isinstance(depth, int) or isinstance(depth, bool):
        raise Refusal("Subscription book depth must be an integer")
    if depth not in DEPTHS:
        raise Refusal("Subscription depth not supported")
    return depth


def _flag(params: Mapping[str, Any], *, default: bool) -> bool:
    wanted = params.get("snapshot", default)
    if not isinstance(wanted, bool):
        raise Refusal("Malformed request")
    return wanted
