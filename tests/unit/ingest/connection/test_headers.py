"""Headers that a session returns."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.connection.headers import check_headers
from ingest.errors import HeadersFailed


def test_ordinary_headers_pass() -> None:
    check_headers({"Authorization": "Bearer x.y-z", "X-Key_1": "ünï \t code", "X-Empty": "", "Cookie": "a=1; b=2"})


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("HOST", "s3cr3t", "'HOST' is reserved"),
        ("Sec-WebSocket-Key", "s3cr3t", "'Sec-WebSocket-Key' is reserved"),
        ("sec-websocket-protocol", "s3cr3t", "use the setting subprotocols"),
        ("Sec-WebSocket-Extensions", "s3cr3t", "use the setting compression"),
        ("Origin", "s3cr3t", "use the setting origin"),
        ("Proxy-Authorization", "s3cr3t", "is reserved"),
        ("X Y", "s3cr3t", "no HTTP token"),
        ("X:", "s3cr3t", "no HTTP token"),
        ("X-Ä", "s3cr3t", "no HTTP token"),
        ("X", "s3cr3t\r\nHost: evil", "'X' has a value with a line break"),
        ("X", "s3cr3t\nHost: evil", "'X' has a value with a line break"),
        ("X", "s3cr3t\x7f", "'X' has a value with a control character"),
        ("X", "s3cr3t€", "outside latin-1"),
        ("X", b"s3cr3t", "must have a text as its value, not bytes"),
        ("X", None, "must have a text as its value, not NoneType"),
        (b"X", "s3cr3t", "of type bytes must have a text as its name"),
    ],
)
def test_what_may_not_be_sent_is_named_without_its_value(name: Any, value: Any, told: str) -> None:
    with pytest.raises(HeadersFailed) as raised:
        check_headers({"X-Fine": "yes", name: value})

    assert told in raised.value.detail
    assert "s3cr3t" not in f"{raised.value} {raised.value!r}"


def test_a_long_name_is_shown_in_part() -> None:
    with pytest.raises(HeadersFailed) as raised:
        check_headers({"x " * 10_000: "value"})

    assert len(str(raised.value)) < 200
