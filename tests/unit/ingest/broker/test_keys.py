"""The names of keys are a contract with Dramatiq and with what older processes left."""

from __future__ import annotations

from ingest.broker.keys import Keys


def test_names() -> None:
    keys = Keys("ns")
    assert keys.messages("q") == "ns:q"
    assert keys.message_data("q") == "ns:q.msgs"
    assert keys.rate("q") == "ns:__rate__.q"
    assert keys.feed("blue", "trades") == "ns:__feed__.blue.trades"
    assert keys.gaps("blue", "trades") == "ns:__gaps__.blue.trades"
    assert keys.history("blue", "trades") == "ns:__history__.blue.trades"
    assert keys.connections("blue", "trades") == "ns:__connections__.blue.trades"
    assert keys.feed("", "trades") == "ns:__feed__..trades"
