"""The Kraken example through `run_session`, against the simulated venue's own answers."""

import json
from collections.abc import Iterator

import pytest

from examples.kraken import Book, KrakenSession
from ingest.errors import FrameHandlerFailed, SessionFailed
from ingest.testing import SessionRun, run_session
from ingest.tools.simulate import wire
from ingest.tools.simulate.market import Market
from ingest.tools.simulate.protocol import Conversation
from tests.support.kraken import GUIDE_ASKS, GUIDE_BIDS, GUIDE_CHECKSUM, pairs

NOW = "2026-11-01T00:00:00.000000Z"
SYMBOLS = ["BTC/USD", "ETH/USD"]


def run(frames: list[str], **session_args: object) -> SessionRun:
    return run_session(KrakenSession, frames, session_args={"symbols": SYMBOLS, **session_args})


def venue(steps: int, channels: list[str], symbols: list[str] = SYMBOLS, depth: int = 10) -> Iterator[str]:
    """Yield what the venue says to the session's own requests, and then for so many steps of its markets."""
    markets = {symbol: Market(symbol, 1, NOW) for symbol in SYMBOLS}
    conversation = Conversation(markets)
    requests = run_session(KrakenSession, session_args={"symbols": symbols, "channels": channels, "depth": depth}).sent
    yield wire.status(1)
    for text in requests:
        yield from conversation.receive(text, NOW)
    for _ in range(steps):
        for symbol, market in markets.items():
            for happening in market.step(NOW):
                told = conversation.render(symbol, happening, NOW)
                if told is not None:
                    yield told


def test_it_subscribes_once_per_channel():
    sent = [json.loads(frame) for frame in run([], channels=["trade", "book"], depth=25).sent]
    assert sent == [
        {"method": "subscribe", "params": {"channel": "trade", "symbol": SYMBOLS}, "req_id": 1},
        {"method": "subscribe", "params": {"channel": "book", "symbol": SYMBOLS, "depth": 25}, "req_id": 2},
    ]


def test_it_is_ready_when_the_last_subscription_is_acknowledged():
    acknowledgements = [frame for frame in venue(0, ["trade", "book"]) if '"success":true' in frame]
    assert len(acknowledgements) == 4
    for known in range(4):
        assert not run(acknowledgements[:known], channels=["trade", "book"]).ready
    assert run(acknowledgements, channels=["trade", "book"]).ready


def test_a_refusal_ends_the_connection_with_the_venues_words():
    result = run_session(
        KrakenSession, venue(0, ["trade"], ["BTC/USD", "XBT/USD"]), session_args={"symbols": ["BTC/USD", "XBT/USD"]}
    )
    assert result.ended == SessionFailed("subscribe refused: Currency pair not supported XBT/USD")
    assert not result.ready


@pytest.mark.parametrize("depth", [10, 25])
def test_books_stay_true_and_are_emitted_whole(depth: int):
    frames = list(venue(1000, ["book"], depth=depth))
    result = run(frames, channels=["book"], depth=depth)
    assert result.ended is None
    assert len(result.payloads) == sum(frame.startswith('{"channel":"book"') for frame in frames)
    for payload in result.payloads:
        assert len(payload["bids"]) == len(payload["asks"]) == depth
        assert float(payload["bids"][0][0]) < float(payload["asks"][0][0])
    json.dumps(result.payloads)


def test_what_was_emitted_does_not_change_any_more():
    frames = list(venue(50, ["book"], ["BTC/USD"]))
    together = run_session(KrakenSession, frames, session_args={"symbols": ["BTC/USD"], "channels": ["book"]}).payloads
    alone = run_session(KrakenSession, frames[:3], session_args={"symbols": ["BTC/USD"], "channels": ["book"]}).payloads
    assert together[0] == alone[0]
    assert together[0] != together[-1]


def test_trades_are_emitted_one_by_one_and_exactly():
    frame = wire.trades("update", "BTC/USD", Market("BTC/USD", 1, NOW).trades)
    payloads = run([frame]).payloads
    assert len(payloads) == 50
    assert payloads[0].keys() == {"channel", "symbol", "side", "price", "qty", "ord_type", "trade_id", "timestamp"}
    assert f'"price":{payloads[0]["price"]},"qty":{payloads[0]["qty"]}' in frame  # digit by digit as it came
    assert payloads[0]["channel"] == "trade"


def test_a_missed_update_ends_the_connection():
    frames = list(venue(200, ["book"], ["BTC/USD"]))
    del frames[20]
    result = run_session(KrakenSession, frames, session_args={"symbols": ["BTC/USD"], "channels": ["book"]})
    assert isinstance(result.ended, SessionFailed)
    assert "checksum" in result.ended.reason
    assert result.ended.retry_after is None  # with backoff
    assert result.read >= 21


def test_an_update_without_a_snapshot_ends_the_connection():
    update = next(frame for frame in venue(50, ["book"]) if '"type":"update"' in frame and '"book"' in frame)
    assert isinstance(run([update]).ended, SessionFailed)


def test_signs_of_life_are_skipped():
    pong = wire.pong({"req_id": 1}, NOW)
    unsubscribed = wire.accepted("unsubscribe", {"channel": "trade", "symbol": "BTC/USD"}, {}, NOW)
    result = run([wire.status(1), wire.HEARTBEAT, pong, unsubscribed])
    assert (result.emitted, result.ended, result.ready, result.read) == ((), None, False, 4)
    assert result.heartbeat == ('{"method":"ping"}',)


def test_what_is_no_json_ends_the_connection():
    assert isinstance(run(["hello"]).ended, FrameHandlerFailed)


def test_the_checksum_of_the_venues_example():
    book = Book(10)
    levels = {
        name: [{"price": price, "qty": qty} for price, qty in pairs(text)]
        for name, text in (("asks", GUIDE_ASKS), ("bids", GUIDE_BIDS))
    }
    book.apply(levels)
    assert book.checksum() == GUIDE_CHECKSUM
