"""Kraken's published rule for the checksum of a book, read independently of what the code under test does with it.

The rule (venue's guide to book checksums, v2): for the ten best asks from low to high, then the ten best bids from high to low,
the text of the price without its dot and leading zeros, then the same of the quantity; all of it together through CRC-32.
"""

from __future__ import annotations

import json
import re
import zlib
from decimal import Decimal
from typing import Any

#: The example of the venue's guide: price and quantity of ten asks and ten bids, and their checksum.
GUIDE_ASKS = """
45285.2 0.00100000  45286.4 1.54571953  45286.6 1.54571109  45289.6 1.54560911  45290.2 0.15890660
45291.8 1.54553491  45294.7 0.04454749  45296.1 0.35380000  45297.5 0.09945542  45299.5 0.18772827
"""
GUIDE_BIDS = """
45283.5 0.10000000  45283.4 1.54582015  45282.1 0.10000000  45281.0 0.10000000  45280.3 1.54592586
45279.0 0.07990000  45277.6 0.03310103  45277.5 0.30000000  45277.3 1.54602737  45276.6 0.15445238
"""
GUIDE_CHECKSUM = 3310070434


def pairs(text: str) -> list[tuple[str, str]]:
    """Return the guide's levels as pairs of price and quantity."""
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


class Replica:
    """A book kept from the venue's messages in the plainest way: a dict a side, sorted when asked."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {"bids": {}, "asks": {}}

    def apply(self, message: str) -> None:
        """Take over a snapshot or an update, and assert its checksum."""
        (data,) = json.loads(message, parse_float=str)["data"]
        for name, side in self.sides.items():
            for level in data[name]:
                side[Decimal(level["price"])] = (level["price"], level["qty"])
            for price in [price for price, (_, qty) in side.items() if Decimal(qty) == 0]:
                del side[price]
            for price in sorted(side, reverse=name == "bids")[self.depth :]:
                del side[price]
        assert self.checksum() == data["checksum"], message

    def best(self, name: str, count: int) -> list[tuple[str, str]]:
        side = self.sides[name]
        return [side[price] for price in sorted(side, reverse=name == "bids")[:count]]

    def checksum(self) -> int:
        return checksum(self.best("asks", 10), self.best("bids", 10))


def checksum(asks: list[tuple[str, str]], bids: list[tuple[str, str]]) -> int:
    """Return the checksum of ten asks and ten bids, best first."""
    text = "".join(re.sub(r"^0+", "", number.replace(".", "")) for level in asks + bids for number in level)
    return zlib.crc32(text.encode())


def request(method: str, channel: str = "book", symbols: Any = ("BTC/USD",), **params: Any) -> str:
    """Return a subscription (or its end) as a client writes it."""
    return json.dumps({"method": method, "params": {"channel": channel, "symbol": symbols, **params}, "req_id": 7})
