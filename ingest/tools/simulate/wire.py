"""How Kraken v2 writes what happens: one function per message.

The rule: pure; prices and quantities keep all their decimals, because the checksum counts them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ingest.tools.simulate.book import Book, Side
from ingest.tools.simulate.market import BookChange, Trade

HEARTBEAT = '{"channel":"heartbeat"}'


def status(connection_id: int) -> str:
    """Return what a client is told when it connects."""
    about = {"api_version": "v2", "connection_id": connection_id, "system": "online", "version": "2.0.0"}
    return _dump({"channel": "status", "type": "update", "data": [about]})


def book_snapshot(book: Book, depth: int, now: str) -> str:
    """Return the ``depth`` best levels of both sides."""
    sides = ",".join(f'"{side.name}":[{_levels(side, depth)}]' for side in (book.bids, book.asks))
    return _book("snapshot", book.instrument.symbol, sides, book.checksum(), now)


def book_update(symbol: str, change: BookChange, depth: int, now: str) -> str:
    """Return one change, with the level that a removal brought into the view of a subscriber of this depth."""
    side, level, checksum = change
    entries = level.text
    if not level.qty and len(side.levels) >= depth:
        entries = f"{entries},{side.levels[depth - 1].text}"
    sides = f'"bids":[{entries}],"asks":[]' if side.name == "bids" else f'"bids":[],"asks":[{entries}]'
    return _book("update", symbol, sides, checksum, now)


def trades(kind: str, symbol: str, items: Iterable[Trade]) -> str:
    """Return trades as a "snapshot" or an "update"."""
    return f'{{"channel":"trade","type":"{kind}","data":[{",".join(_trade(symbol, trade) for trade in items)}]}}'


def accepted(method: str, result: Mapping[str, Any], request: Mapping[str, Any], now: str) -> str:
    """Return the acknowledgement of one symbol's subscription, or of its end."""
    return _reply({"method": method, "result": result, "success": True}, request, now)


def refused(method: object, error: str, request: Mapping[str, Any], now: str, symbol: str | None = None) -> str:
    """Return a refusal: of one symbol, or of the whole request."""
    about = {"error": error, "success": False}
    if isinstance(method, str):
        about["method"] = method
    if symbol is not None:
        about["symbol"] = symbol
    return _reply(about, request, now)


def pong(request: Mapping[str, Any], now: str) -> str:
    """Return the answer to a client's ``ping`` request."""
    return _reply({"method": "pong"}, request, now)


def _reply(content: dict[str, Any], request: Mapping[str, Any], now: str) -> str:
    content |= {"time_in": now, "time_out": now}
    if isinstance(request.get("req_id"), int):
        content["req_id"] = request["req_id"]
    return _dump(content)


def _book(kind: str, symbol: str, sides: str, checksum: int, now: str) -> str:
    about = f'"symbol":"{symbol}",{sides},"checksum":{checksum},"timestamp":"{now}"'
    return f'{{"channel":"book","type":"{kind}","data":[{{{about}}}]}}'


def _levels(side: Side, depth: int) -> str:
    return ",".join(level.text for level in side.levels[:depth])


def _trade(symbol: str, trade: Trade) -> str:
    return (
        f'{{"symbol":"{symbol}","side":"{trade.side}","price":{trade.price},"qty":{trade.qty},'
        f'"ord_type":"{trade.order_type}","trade_id":{trade.number},"timestamp":"{trade.timestamp}"}}'
    )


def _dump(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))
