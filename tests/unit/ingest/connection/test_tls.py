"""What TLS has to say, in words; the stream itself is tested against real servers."""

from __future__ import annotations

import ssl

import pytest

from ingest.connection.tls import describe_tls


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TLSV1_ALERT_UNKNOWN_CA", "TLS: tlsv1 alert unknown ca"),
        ("WRONG_VERSION_NUMBER", "the server does not speak TLS on this port (is it a ws:// URL?)"),
        (None, "TLS error"),
    ],
)
def test_openssls_reasons_in_words(reason: str | None, words: str) -> None:
    error = ssl.SSLError(1, "text")
    error.reason = reason  # type: ignore[assignment]

    assert describe_tls(error) == words
