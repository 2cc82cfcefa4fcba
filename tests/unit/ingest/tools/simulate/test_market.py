"""A market is the same for the same seed, stays a market for ever, and tells every change truly."""

import itertools
from collections.abc import Iterator

import pytest

from ingest.tools.simulate.book import Level
from ingest.tools.simulate.market import DEEPEST, BookChange, Market, Trade

NOW = "2026-11-01T00:00:00.000000Z"


def events(market: Market, count: int) -> Iterator[tuple[object, ...]]:
    for _ in range(count):
        for happening in market.step(NOW):
            if isinstance(happening, BookChange):
                yield (happening.side.name, happening.level, happening.checksum)
            else:
                yield tuple(happening)


def test_one_seed_one_sequence():
    first = list(events(Market("BTC/USD", 5, NOW), 500))
    second = list(events(Market("BTC/USD", 5, NOW), 500))
    assert first == second
    assert first != list(events(Market("BTC/USD", 6, NOW), 500))
    assert first != list(events(Market("ETH/USD", 5, NOW), 500))


@pytest.mark.parametrize("symbol", ["BTC/USD", "DOGE/EUR"])
def test_it_stays_a_market(symbol: str):
    market = Market(symbol, 3, NOW)
    start = market.instrument.start
    for _ in range(20_000):
        market.step(NOW)
        bids, asks = market.book.bids.levels, market.book.asks.levels
        assert bids[0].price < asks[0].price
        assert len(bids) >= DEEPEST
        assert len(asks) >= DEEPEST
    assert len(bids) < DEEPEST + 200
    assert abs(bids[0].price - start) < start * 0.1
    for levels, sign in ((bids, -1), (asks, 1)):
        keys = [level.price * sign for level in levels]
        assert keys == sorted(set(keys))
        assert all(level.qty > 0 and level.price > 0 for level in levels)


def test_every_change_is_told_and_lies_among_the_ten_best():
    market = Market("BTC/USD", 11, NOW)
    known = {side.name: best(market, side.name) for side in (market.book.bids, market.book.asks)}
    for _ in range(5_000):
        for happening in market.step(NOW):
            if isinstance(happening, Trade):
                continue
            name, level = happening.side.name, happening.level
            mirror = {each.price: each for each in known[name]}
            if level.qty:
                mirror[level.price] = level
            else:
                del mirror[level.price]
                entering = happening.side.levels[9]
                mirror[entering.price] = entering
            known[name] = sorted(mirror.values(), key=lambda each: each.price, reverse=name == "bids")[:10]
            assert known[name] == best(market, name)
            assert happening.checksum == market.book.checksum()


def test_a_trade_takes_from_the_best_of_the_other_side():
    market = Market("ETH/USD", 2, NOW)
    seen = set()
    numbers = [trade.number for trade in market.trades]
    for _ in range(5_000):
        best_of = {"buy": market.book.asks.levels[0], "sell": market.book.bids.levels[0]}
        happenings = market.step("later")
        if len(happenings) == 1:
            continue
        trade, change = happenings
        assert isinstance(trade, Trade)
        assert isinstance(change, BookChange)
        taken_from = best_of[trade.side]
        assert trade.price == market.instrument.price_text(taken_from.price)
        assert change.level.price == taken_from.price
        left = taken_from.qty - change.level.qty
        assert trade.qty == market.instrument.qty_text(left)
        assert (trade.timestamp, market.trades[-1]) == ("later", trade)
        numbers.append(trade.number)
        seen.add((trade.side, trade.order_type, change.level.qty == 0))
    assert seen == set(itertools.product(("buy", "sell"), ("market", "limit"), (True, False)))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_there_is_a_history_from_the_start():
    market = Market("BTC/USD", 1, NOW)
    assert len(market.trades) == 50
    for _ in range(1_000):
        market.step("later")
    assert len(market.trades) == 50


def best(market: Market, name: str) -> list[Level]:
    side = market.book.bids if name == "bids" else market.book.asks
    return side.levels[:10]
