"""What the venue's messages look like, parsed as a client would."""

import json
from collections.abc import Iterator

import pytest

from ingest.tools.simulate import wire
from ingest.tools.simulate.market import BookChange, Market, Trade
from tests.support.kraken import Replica

NOW = "2026-11-01T00:00:00.000000Z"


def changes(market: Market, count: int) -> Iterator[BookChange]:
    for _ in range(count):
        yield from (happening for happening in market.step(NOW) if isinstance(happening, BookChange))


@pytest.mark.parametrize("depth", [10, 25, 1000])
def test_a_book_kept_from_snapshot_and_updates_has_every_checksum(depth: int):
    market = Market("BTC/USD", 4, NOW)
    replica = Replica(depth)
    replica.apply(wire.book_snapshot(market.book, depth, NOW))
    for change in changes(market, 300 if depth == 1000 else 3000):
        replica.apply(wire.book_update("BTC/USD", change, depth, NOW))
        for side in (market.book.bids, market.book.asks):  # not only what the checksum covers: all that was subscribed to
            assert len(replica.sides[side.name]) == depth
    assert [price for price, _ in replica.best("asks", depth)] == [
        market.instrument.price_text(level.price) for level in market.book.asks.levels[:depth]
    ]


def test_a_snapshot():
    market = Market("ETH/USD", 4, NOW)
    message = json.loads(wire.book_snapshot(market.book, 25, NOW))
    assert (message["channel"], message["type"]) == ("book", "snapshot")
    (data,) = message["data"]
    assert list(data) == ["symbol", "bids", "asks", "checksum", "timestamp"]
    assert (data["symbol"], data["timestamp"], len(data["bids"]), len(data["asks"])) == ("ETH/USD", NOW, 25, 25)


def test_an_update_names_one_side():
    market = Market("ETH/USD", 4, NOW)
    for change in changes(market, 50):
        (data,) = json.loads(wire.book_update("ETH/USD", change, 10, NOW))["data"]
        other = "asks" if change.side.name == "bids" else "bids"
        assert data[other] == []
        assert len(data[change.side.name]) == (1 if change.level.qty else 2)


def test_trades():
    items = [Trade(7, "buy", "65000.1", "0.01000000", "market", NOW), Trade(8, "sell", "65000.0", "2.00000000", "limit", NOW)]
    assert json.loads(wire.trades("update", "BTC/USD", items), parse_float=str) == {
        "channel": "trade",
        "type": "update",
        "data": [
            {
                "symbol": "BTC/USD", "side": "buy", "price": "65000.1", "qty": "0.01000000",
                "ord_type": "market", "trade_id": 7, "timestamp": NOW,
            },
            {
                "symbol": "BTC/USD", "side": "sell", "price": "65000.0", "qty": "2.00000000",
                "ord_type": "limit", "trade_id": 8, "timestamp": NOW,
            },
        ],
    }  # fmt: skip


def test_status_and_heartbeat():
    (status,) = json.loads(wire.status(9))["data"]
    assert (status["system"], status["api_version"], status["connection_id"]) == ("online", "v2", 9)
    assert json.loads(wire.HEARTBEAT) == {"channel": "heartbeat"}


@pytest.mark.parametrize(("req_id", "echoed"), [(42, {"req_id": 42}), (None, {}), ("42", {})])
def test_replies_carry_the_requests_id_and_the_times(req_id: object, echoed: dict[str, int]):
    request = {"req_id": req_id}
    times = {"time_in": NOW, "time_out": NOW, **echoed}
    assert json.loads(wire.pong(request, NOW)) == {"method": "pong", **times}
    assert json.loads(wire.accepted("subscribe", {"channel": "trade"}, request, NOW)) == {
        "method": "subscribe", "result": {"channel": "trade"}, "success": True, **times,
    }  # fmt: skip
    assert json.loads(wire.refused("subscribe", "no", request, NOW, "A/B")) == {
        "error": "no", "method": "subscribe", "success": False, "symbol": "A/B", **times,
    }  # fmt: skip
    assert json.loads(wire.refused(None, "no", request, NOW)) == {"error": "no", "success": False, **times}
