"""What is masked in a record, and what must not be."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.records.scrub import Scrubber, names_credential

SECRET = 'sw0rd/f"ish-€'


@pytest.mark.parametrize(
    "form", [SECRET, json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False), "sw0rd%2Ff%22ish-%E2%82%AC"]
)
def test_a_known_secret_in_every_form_and_direction(form: str) -> None:
    scrubber = Scrubber([SECRET])
    for masked in (scrubber.received(f"<{form}>".encode()), scrubber.sent(f"<{form}>".encode(), text=False)):
        assert masked.replace(b'"', b"") == b"<***>"
    assert SECRET not in scrubber.said(f"refused {SECRET}")


def test_short_values_are_masked_in_what_we_sent_alone() -> None:
    scrubber = Scrubber(["BTC/USD", "x"])
    assert scrubber.received(b'{"symbol":"BTC/USD"}') == b'{"symbol":"BTC/USD"}'
    assert scrubber.sent(b'{"symbol":"BTC/USD","x":1}', text=True) == b'{"symbol":"***","x":1}'


def test_a_number_stays_one() -> None:
    masked = Scrubber(["12345678"]).received(b'{"account":12345678,"price":1.5}')
    assert json.loads(masked) == {"account": 99999999, "price": 1.5}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('{"op":"subscribe","token":"abc","n":1}', '{"op":"subscribe","token":"***","n":1}'),
        ('{"a": {"apiKey" : "k", "sign":12.5e3}}', '{"a": {"apiKey" : "***", "sign":"***"}}'),
        ('{"op":"auth","args":["key",1700000000,"sig"]}', '{"op": "auth", "args": ["***", "***", "***"]}'),
        ('{"event":"login","user":"me","deep":{"x":true}}', '{"event": "login", "user": "***", "deep": {"x": true}}'),
        ('["authenticate","s3cret"]', '["authenticate", "***"]'),
        ("AUTH me s3cret", "AUTH ***"),
        ("CONNECT\nlogin:me\npasscode:s3cret\nhost:h", "CONNECT\nlogin:***\npasscode:***\nhost:h"),
        ("x?token=s3cret&symbol=a", "x?token=***&symbol=a"),
        ('{"op":"subscribe","args":["trade:BTC"]}', '{"op":"subscribe","args":["trade:BTC"]}'),
        ('{"event":"author","name":"me"}', '{"event":"author","name":"me"}'),
        ("hello there", "hello there"),
    ],
)
def test_credentials_of_sent_texts(sent: str, kept: str) -> None:
    assert Scrubber().sent(sent.encode(), text=True).decode() == kept


def test_what_was_sent_as_a_credential_is_masked_where_the_server_repeats_it() -> None:
    scrubber = Scrubber()
    scrubber.sent(b'{"token":"t0ken-of-today"}', text=True)
    assert scrubber.received(b'{"hello":"t0ken-of-today"}') == b'{"hello":"***"}'


def test_what_the_request_shows() -> None:
    scrubber = Scrubber()
    scrubber.hide_request(
        "wss://me:passw0rd@h/?token=query-token&streams=btcusdt@trade",
        {"Authorization": "Bearer header-token", "X-Venue": "plain-value"},
    )
    kept = scrubber.received(b"passw0rd query-token btcusdt@trade header-token plain-value")
    assert kept == b"*** *** btcusdt@trade *** plain-value"


def test_names_of_the_users_in_both_directions() -> None:
    scrubber = Scrubber(names=["Account"])
    assert scrubber.received(b'{"account":"a1","price":1.10}') == b'{"account":"***","price":1.10}'
    assert scrubber.sent(b'{"account":"a1"}', text=True) == b'{"account":"***"}'
    assert scrubber.payload({"account": "a1", "price": 1}) == {"account": "***", "price": 1}


@given(st.binary(max_size=200))
def test_whatever_comes_is_borne(noise: bytes) -> None:
    scrubber = Scrubber([SECRET], ["account"])
    scrubber.received(noise)
    scrubber.sent(noise, text=True)


@given(st.text(max_size=80))
def test_what_holds_no_secret_stays_as_it_came(text: str) -> None:
    payload = text.encode("utf-8", "replace")
    assert Scrubber([SECRET]).received(payload) == payload


def test_emitted_values() -> None:
    scrubber = Scrubber([SECRET])
    assert scrubber.payload({"a": [SECRET], "n": 1.5}) == {"a": ["***"], "n": 1.5}


@pytest.mark.parametrize(("name", "is_one"), [("accessToken", True), ("X-Api-Key", True), ("key", True), ("monkey", False)])
def test_names(name: str, is_one: bool) -> None:
    assert names_credential(name) is is_one
