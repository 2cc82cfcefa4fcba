"""A market that moves by itself: one seed, one sequence of trades and book changes, for ever.

The rule: pure and deterministic; the time is a text that is passed in and handed on, and every change happens among the
ten best levels, so that each subscriber sees it whatever the depth.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ingest.tools.simulate.book import Book, Instrument, Level, Side

#: The deepest book that can be subscribed to.
DEEPEST = 1000

_SPARE_LEVELS = 50  # behind the deepest: where a side grows and shrinks unseen
_TOP = 10
_WIDEST_SPREAD = 20
_RECENT_TRADES = 50
_KNOWN = {
    "BTC/USD": Instrument("BTC/USD", 1, 8, 650_000),
    "ETH/USD": Instrument("ETH/USD", 2, 8, 350_000),
    "SOL/USD": Instrument("SOL/USD", 2, 8, 15_000),
}


class BookChange(NamedTuple):
    """One level set, added or (``qty`` 0) removed; the checksum is of the book after it.

    ``side.levels`` are those after it, too: who sees only the best ``n`` needs the one that a removal brought into view.
    """

    side: Side
    level: Level
    checksum: int


class Trade(NamedTuple):
    """One order that was filled; ``side`` is the taker's. Prices and quantities are texts of the wire."""

    number: int
    side: str
    price: str
    qty: str
    order_type: str
    timestamp: str


class Market:
    """One instrument's book and trades."""

    def __init__(self, symbol: str, seed: int, now: str) -> None:
        self._random = random.Random(f"{seed} {symbol}")
        self.instrument = _KNOWN.get(symbol) or Instrument(symbol, 4, 8, self._random.randrange(50_000, 5_000_000))
        self.book = Book(self.instrument)
        self.trades: deque[Trade] = deque(maxlen=_RECENT_TRADES)
        self._trade_number = self._random.randrange(1_000_000, 10_000_000)
        for side, best in ((self.book.bids, self.instrument.start), (self.book.asks, self.instrument.start + 2)):
            side.set(best, self._quantity())
            self._extend(side)
        while len(self.trades) < _RECENT_TRADES:
            self.step(now)

    def step(self, now: str) -> Sequence[BookChange | Trade]:
        """Let one thing happen: a change of the book, or a trade together with the change that it makes."""
        chance = self._random.random()
        if self.book.spread > _WIDEST_SPREAD:
            return (self._improve(self._any_side()),)
        if chance < 0.15:
            return self._trade(now)
        side = self._any_side()
        if chance < 0.30:
            return (self._remove(side, self._random.randrange(_TOP)),)
        if chance < 0.48:
            return (self._insert(side),)
        return (self._set(side, side.levels[self._random.randrange(_TOP)].price, self._quantity()),)

    def _trade(self, now: str) -> Sequence[BookChange | Trade]:
        buys = self._random.random() < 0.5 + self._pull()
        side = self.book.asks if buys else self.book.bids
        best = side.levels[0]
        taken = best.qty if self._random.random() < 0.3 else self._random.randint(1, best.qty)
        self._trade_number += 1
        trade = Trade(
            self._trade_number,
            "buy" if buys else "sell",
            self.instrument.price_text(best.price),
            self.instrument.qty_text(taken),
            "market" if self._random.random() < 0.7 else "limit",
            now,
        )
        self.trades.append(trade)
        return trade, self._remove(side, 0) if taken == best.qty else self._set(side, best.price, best.qty - taken)

    def _pull(self) -> float:
        """Return how much likelier a buy is than chance: the price is drawn back to where it started, within a few per cent."""
        away = (self.instrument.start - self.book.bids.levels[0].price) / self.instrument.start
        return max(-0.4, min(0.4, away * 20))

    def _improve(self, side: Side) -> BookChange:
        """Add a level inside the spread."""
        inside = self._random.randint(1, self.book.spread - 1)
        return self._set(side, side.further(side.levels[0].price, -inside), self._quantity())

    def _insert(self, side: Side) -> BookChange:
        place = self._random.randrange(_TOP)
        gap = self.book.spread if place == 0 else side.gap_before(place)
        price = side.levels[place].price
        if gap > 1:
            price = side.further(price, -self._random.randint(1, gap - 1))
        return self._set(side, price, self._quantity())

    def _set(self, side: Side, price: int, qty: int) -> BookChange:
        place = side.set(price, qty)
        if len(side.levels) > DEEPEST + 2 * _SPARE_LEVELS:
            while len(side.levels) > DEEPEST + _SPARE_LEVELS:
                side.remove(len(side.levels) - 1)
        return BookChange(side, side.levels[place], self.book.checksum())

    def _remove(self, side: Side, place: int) -> BookChange:
        gone = side.remove(place)
        if len(side.levels) <= DEEPEST:
            self._extend(side)
        return BookChange(side, side.level(gone.price, 0), self.book.checksum())

    def _extend(self, side: Side) -> None:
        price = side.levels[-1].price
        while len(side.levels) < DEEPEST + _SPARE_LEVELS:
            price = side.further(price, self._random.randint(1, 9))
            side.set(price, self._quantity())

    def _quantity(self) -> int:
        return int(10 ** self._random.uniform(5, 9))  # 0.001 to 10 units of eight decimals, small ones as likely as large

    def _any_side(self) -> Side:
        return self.book.asks if self._random.random() < 0.5 else self.book.bids
