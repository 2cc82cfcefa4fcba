"""Requests and answers, as Kraken v2 gives them."""

import json
from typing import Any

import pytest

from ingest.tools.simulate.market import BookChange, Market, Trade
from ingest.tools.simulate.protocol import Conversation
from tests.support.kraken import request

NOW = "2026-11-01T00:00:00.000000Z"


@pytest.fixture(scope="module")
def markets() -> dict[str, Market]:
    return {symbol: Market(symbol, 1, NOW) for symbol in ("BTC/USD", "ETH/USD")}


@pytest.fixture
def conversation(markets: dict[str, Market]) -> Conversation:
    return Conversation(markets)


def ask(conversation: Conversation, message: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(answer) for answer in conversation.receive(message, NOW)]


def test_each_symbol_is_acknowledged_and_then_shown(conversation: Conversation):
    answers = ask(conversation, request("subscribe", symbols=["BTC/USD", "ETH/USD"], depth=25))
    assert [answer.get("channel", "acknowledged") for answer in answers] == ["acknowledged", "book", "acknowledged", "book"]
    assert answers[0] == {
        "method": "subscribe", "success": True, "req_id": 7, "time_in": NOW, "time_out": NOW,
        "result": {"channel": "book", "depth": 25, "snapshot": True, "symbol": "BTC/USD"},
    }  # fmt: skip
    assert answers[3]["type"] == "snapshot"
    assert (answers[3]["data"][0]["symbol"], len(answers[3]["data"][0]["bids"])) == ("ETH/USD", 25)
    assert conversation.books == {"BTC/USD": 25, "ETH/USD": 25}
    assert conversation.subscribed


@pytest.mark.parametrize(
    ("channel", "params", "snapshots"),
    [("book", {}, 1), ("book", {"snapshot": False}, 0), ("trade", {}, 0), ("trade", {"snapshot": True}, 1)],
)
def test_a_snapshot_comes_by_default_for_books_only(
    conversation: Conversation, channel: str, params: dict[str, Any], snapshots: int
):
    acknowledgement, *rest = ask(conversation, request("subscribe", channel, **params))
    assert acknowledgement["result"]["snapshot"] is bool(snapshots)
    assert [(answer["channel"], answer["type"]) for answer in rest] == [(channel, "snapshot")] * snapshots
    if channel == "trade" and rest:
        assert len(rest[0]["data"]) == 50


def test_the_default_depth_is_ten(conversation: Conversation):
    _, snapshot = ask(conversation, request("subscribe"))
    assert len(snapshot["data"][0]["asks"]) == 10


def test_an_unknown_symbol_is_refused_and_the_others_are_not(conversation: Conversation):
    answers = ask(conversation, request("subscribe", "trade", ["BTC/USD", "XBT/USD", "ETH/USD"]))
    assert [answer["success"] for answer in answers] == [True, False, True]
    assert (answers[1]["error"], answers[1]["symbol"]) == ("Currency pair not supported XBT/USD", "XBT/USD")
    assert (answers[1]["method"], answers[1]["req_id"]) == ("subscribe", 7)


def test_a_second_subscription_is_refused(conversation: Conversation):
    ask(conversation, request("subscribe", "trade"))
    (answer,) = ask(conversation, request("subscribe", "trade"))
    assert (answer["success"], answer["error"]) == (False, "Already subscribed")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("no json", "Malformed request"),
        (b"\xff\xfe", "Malformed request"),
        ("[1]", "Malformed request"),
        ('{"method":7}', "Malformed request"),
        ('{"method":"subscribe"}', "Malformed request"),
        ('{"method":"explode"}', "Method(s) not found"),
        (request("subscribe", "book", "BTC/USD"), "Malformed request"),
        (request("subscribe", "book", []), "Malformed request"),
        (request("subscribe", "book", [1]), "Malformed request"),
        (request("subscribe", "candles"), "Subscription name invalid"),
        (request("subscribe", depth=11), "Subscription depth not supported"),
        (request("subscribe", depth="10"), "Subscription book depth must be an integer"),
        (request("subscribe", depth=True), "Subscription book depth must be an integer"),
        (request("subscribe", snapshot="yes"), "Malformed request"),
        (request("unsubscribe"), "Subscription Not Found"),
        (request("unsubscribe", "trade"), "Subscription Not Found"),
        (request("unsubscribe", "spread"), "Subscription name invalid"),
    ],
)
def test_what_is_refused_and_why(conversation: Conversation, message: str | bytes, error: str):
    (answer,) = ask(conversation, message)
    assert (answer["success"], answer["error"]) == (False, error)
    assert not conversation.subscribed


def test_unsubscribing(conversation: Conversation):
    ask(conversation, request("subscribe", depth=25))
    ask(conversation, request("subscribe", "trade"))
    (wrong,) = ask(conversation, request("unsubscribe"))  # depth 10, which is not what is subscribed
    assert wrong["error"] == "Subscription Not Found"
    (book,) = ask(conversation, request("unsubscribe", depth=25))
    assert (book["success"], book["result"]) == (True, {"channel": "book", "symbol": "BTC/USD", "depth": 25})
    (trade,) = ask(conversation, request("unsubscribe", "trade"))
    assert (trade["success"], trade["result"]) == (True, {"channel": "trade", "symbol": "BTC/USD"})
    assert not conversation.subscribed


def test_ping(conversation: Conversation):
    assert ask(conversation, '{"method":"ping","req_id":42}') == [
        {"method": "pong", "req_id": 42, "time_in": NOW, "time_out": NOW}
    ]


def test_only_what_was_asked_for_is_told(conversation: Conversation, markets: dict[str, Market]):
    ask(conversation, request("subscribe", "trade", ["BTC/USD"]))
    ask(conversation, request("subscribe", "book", ["ETH/USD"], depth=25))
    told = set()
    for symbol, market in markets.items():
        happenings = [happening for _ in range(200) for happening in market.step(NOW)]
        assert {type(happening) for happening in happenings} == {BookChange, Trade}
        for happening in happenings:
            text = conversation.render(symbol, happening, NOW)
            if text is not None:
                message = json.loads(text)
                assert message["type"] == "update"
                told.add((message["channel"], message["data"][0]["symbol"]))
    assert told == {("trade", "BTC/USD"), ("book", "ETH/USD")}
