"""The demonstration's actors: plain Dramatiq actors that keep a number and now and then say so."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from threading import Lock
from typing import Any

import dramatiq

from workers import current_frame

#: Messages of one kind and symbol between two lines of the log.
EVERY = 100

_counts: Counter[str] = Counter()
_volume: defaultdict[str, Decimal] = defaultdict(Decimal)
_lock = Lock()


@dramatiq.actor(queue_name="trades")
def count_trade(trade: dict[str, Any]) -> None:
    """Sum up the volume of every symbol, in this process."""
    symbol = trade["symbol"]
    with _lock:
        _counts[symbol] += 1
        _volume[symbol] += Decimal(trade["qty"])
        count, volume = _counts[symbol], _volume[symbol]
    if count % EVERY == 0:
        frame = current_frame()
        seq = frame.seq if frame is not None else "?"
        count_trade.logger.info("%s: %d trades, volume %s; this was number %s of the feed", symbol, count, volume, seq)


@dramatiq.actor(queue_name="books")
def watch_book(book: dict[str, Any]) -> None:
    """Refuse a book whose bid is above its ask; Dramatiq would try it again, then keep it as a dead letter."""
    bid, ask = Decimal(book["bids"][0][0]), Decimal(book["asks"][0][0])
    if bid >= ask:
        raise ValueError(f"crossed book of {book['symbol']}: {bid} >= {ask}")
