"""Secrets disappear from any text."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from ingest.telemetry import masking
from ingest.telemetry.masking import MOST_PASSING, hide, hide_passing, hide_secrets_of, mask_text
from settings.model import BrokerSettings, FeedSettings, Settings


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_hidden", ())
    monkeypatch.setattr(masking, "_passing", {})


def test_the_secrets_of_urls_go_and_the_rest_of_the_text_stays() -> None:
    text = "could not reach redis://:hunter2@10.0.0.1:6379/0 (tried wss://h.example/x?token=hunter3)"

    masked = mask_text(text)

    assert "hunter" not in masked
    assert masked.startswith("could not reach redis://***@10.0.0.1:6379/0 (tried wss://h.example/x?token=***")


@pytest.mark.parametrize("text", ["", "no url here", "a://", "http://[::1", "x://y://z", "http://h:99999999/"])
def test_odd_texts_never_raise(text: str) -> None:
    assert isinstance(mask_text(text), str)


def test_hidden_values_go_wherever_they_stand() -> None:
    hide([SecretStr("hunter2-"), SecretStr("hunter2-and-more")])

    assert mask_text("Bearer hunter2-and-more, or hunter2-") == "Bearer ***, or ***"


def test_values_too_short_to_be_secrets_stay() -> None:
    hide([SecretStr("1"), SecretStr(""), SecretStr("BTC/USD")])

    assert mask_text("attempt 1 of 11 for BTC/USD") == "attempt 1 of 11 for BTC/USD"


def test_of_a_url_that_is_a_secret_the_host_may_be_seen() -> None:
    hide([SecretStr("wss://example.com/s3cr3t-path"), SecretStr("ws://127.0.0.1:1234")])

    assert mask_text("wss://example.com/s3cr3t-path and ws://127.0.0.1:1234") == "wss://example.com/*** and ws://127.0.0.1:1234"


def test_names_from_the_environment_stay() -> None:
    feed = FeedSettings(name="trades", url="wss://example.com", actor="handle_trade", secrets=(SecretStr("handle_trade"),))

    hide_secrets_of(Settings(feeds={"trades": feed}))

    assert mask_text("actor=handle_trade") == "actor=handle_trade"


def test_what_settings_hold_in_secret_is_hidden() -> None:
    feed = FeedSettings(
        name="trades",
        url="wss://example.com/s3cr3t-path",
        actor="handle",
        headers={"X-Key": SecretStr("header-secret")},
        secrets=(SecretStr("s3cr3t-path"),),
    )

    hide_secrets_of(Settings(feeds={"trades": feed}))

    assert mask_text("wss://example.com/s3cr3t-path refused header-secret") == "wss://example.com/*** refused ***"


def test_passwords_and_tokens_of_urls_are_hidden_by_themselves_too() -> None:
    feed = FeedSettings(
        name="trades",
        url="wss://bob:hunter2-url@example.com/?stream=btcusdt&api_key=hunter2-key",
        actor="handle",
        proxy="http://bob:hunter2%2Fproxy@proxy.example",
        headers={"Authorization": SecretStr("Bearer hunter2-header")},
    )
    broker = BrokerSettings(url=SecretStr("redis://:hunter2-redis@h:6379/0"))

    hide_secrets_of(Settings(feeds={"trades": feed}, broker=broker))

    text = "hunter2-url, hunter2-key, hunter2/proxy, hunter2%2Fproxy, hunter2-header, hunter2-redis"
    assert mask_text(text) == "***, ***, ***, ***, ***, ***"
    assert mask_text("btcusdt") == "btcusdt"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GET /stream?token=hunter2&x=1 failed", "GET /stream?token=***&x=*** failed"),
        ("{'Authorization': 'Bearer hunter2.hunter2'}", "{'Authorization': 'Bearer ***'}"),
        ("authorization: basic aHVudGVyMjpodW50ZXIy", "authorization: basic ***"),
        ("basic authentication failed, token expired", "basic authentication failed, token expired"),
        ("is it so? a=1", "is it so? a=1"),
    ],
)
def test_credentials_that_nobody_told_us_of_go_where_they_have_their_usual_form(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize("write", [str, repr, json.dumps, quote, lambda value: json.dumps(value, ensure_ascii=False)])
def test_a_secret_is_hidden_however_it_is_written(write: Callable[[str], str]) -> None:
    secret = 'hünter2 "quoted" \\ and\nbroken'
    hide([SecretStr(secret)])

    assert "nter2" not in mask_text(f"it was {write(secret)}.")


def test_what_is_hidden_again_costs_nothing_more() -> None:
    for _ in range(20):
        hide([SecretStr('hunter2 "quoted" \\')])

    assert len(masking._hidden) <= 5


def test_what_the_user_s_code_opens_a_connection_with_is_hidden_and_forgotten_in_time() -> None:
    feed = FeedSettings(name="trades", url="wss://example.com/a-part-of-the-settings", actor="handle")
    url = "wss://example.com/a-part-of-the-settings/hunter2-listen-key-0123456789"

    hide_passing(feed, url, {"Authorization": "Bearer hunter2-first", "Accept": "short"})

    assert mask_text(url) == "wss://example.com/a-part-of-the-settings/***"
    assert mask_text("hunter2-first, short") == "***, short"
    for number in range(MOST_PASSING):
        hide_passing(feed, feed.url, {"X-Key": f"hunter2-{number}"})
    assert mask_text("hunter2-0") == "***"
    assert sum(map(len, masking._passing.values())) == MOST_PASSING
