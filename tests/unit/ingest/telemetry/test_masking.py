"""Secrets disappear from any text."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from ingest.telemetry import masking
from ingest.telemetry.masking import hide, hide_secrets_of, mask_text
from settings.model import FeedSettings, Settings


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_hidden", ())


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
