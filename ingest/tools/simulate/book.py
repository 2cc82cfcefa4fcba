"""An order book in whole ticks and lots, with the checksum that Kraken publishes over its ten best levels.

The rule: pure; every level keeps its own JSON and checksum text, so that an update costs what it changes and no more.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal, NamedTuple

SideName = Literal["bids", "asks"]

_CHECKSUM_LEVELS = 10


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is traded: its symbol, where it starts (in ticks), and how many decimals its prices and quantities have."""

    symbol: str
    price_decimals: int
    qty_decimals: int
    start: int

    def price_text(self, ticks: int) -> str:
        """Return a price as it is written on the wire: all decimals, trailing zeros too."""
        return _decimal(ticks, self.price_decimals)

    def qty_text(self, lots: int) -> str:
        """Return a quantity as it is written on the wire."""
        return _decimal(lots, self.qty_decimals)


class Level(NamedTuple):
    """One price of a book. ``digits`` is its part of the checksum: price, then quantity, without dots and leading zeros."""

    price: int
    qty: int
    text: str
    digits: str


class Side:
    """The bids or the asks, best first."""

    def __init__(self, instrument: Instrument, name: SideName) -> None:
        self.name = name
        self.levels: list[Level] = []
        self._instrument = instrument
        self._sign = 1 if name == "asks" else -1  # keys ascend from the best: low asks, high bids
        self._keys: list[int] = []
        self._digits: str | None = None

    def set(self, price: int, qty: int) -> int:
        """Put ``qty`` lots at a price, new or not, and return the level's place; 0 is the best."""
        level = self.level(price, qty)
        key = price * self._sign
        place = bisect_left(self._keys, key)
        if place < len(self._keys) and self._keys[place] == key:
            self.levels[place] = level
        else:
            self._keys.insert(place, key)
            self.levels.insert(place, level)
        self._touch(place)
        return place

    def remove(self, place: int) -> Level:
        """Take the level at a place away and return it."""
        del self._keys[place]
        self._touch(place)
        return self.levels.pop(place)

    def level(self, price: int, qty: int) -> Level:
        """Return a price and quantity with their texts; ``qty`` 0 is how an update says "removed"."""
        price_text, qty_text = self._instrument.price_text(price), self._instrument.qty_text(qty)
        return Level(price, qty, f'{{"price":{price_text},"qty":{qty_text}}}', f"{price}{qty}")

    def further(self, price: int, ticks: int) -> int:
        """Return the price that is so many ticks worse than another."""
        return price + ticks * self._sign

    def gap_before(self, place: int) -> int:
        """Return how many ticks lie between a level and the next better one."""
        return self._keys[place] - self._keys[place - 1]

    def digits(self) -> str:
        """Return this side's part of the checksum's text."""
        if self._digits is None:
            self._digits = "".join([level.digits for level in self.levels[:_CHECKSUM_LEVELS]])
        return self._digits

    def _touch(self, place: int) -> None:
        if place < _CHECKSUM_LEVELS:
            self._digits = None


class Book:
    """Both sides of one instrument."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.bids = Side(instrument, "bids")
        self.asks = Side(instrument, "asks")

    @property
    def spread(self) -> int:
        """The ticks between the best bid and the best ask."""
        return self.asks.levels[0].price - self.bids.levels[0].price

    def checksum(self) -> int:
        """Return the CRC-32 of the ten best asks from low to high, then the ten best bids from high to low."""
        return zlib.crc32((self.asks.digits() + self.bids.digits()).encode("ascii"))


def _decimal(units: int, decimals: int) -> str:
    if not decimals:
        return f"{units}.0"
    digits = f"{units:0{decimals + 1}d}"
    return f"{digits[:-decimals]}.{digits[-decimals:]}"
