"""Response heads, ``Retry-After`` and small bodies."""

from __future__ import annotations

import pytest

from ingest.connection.http1 import (
    LONGEST_RETRY_AFTER,
    Head,
    body_complete,
    body_content,
    end_of_head,
    parse_head,
    retry_after,
    tokens,
)

#: Tue, 24 Nov 2026 04:00:00 GMT
NOW = 1795492800.0


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nbody", 19),
        (b"HTTP/1.1 200 OK\n\nbody", 17),
        (b"HTTP/1.1 200 OK\r\n\nbody", 18),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n", None),
        (b"", None),
    ],
)
def test_where_a_head_ends(data: bytes, end: int | None) -> None:
    assert end_of_head(data) == end


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_the_end_is_found_wherever_the_pieces_were_cut(newline: bytes) -> None:
    head = newline.join([b"HTTP/1.1 200 OK", b"X: y", b"", b""])
    for cut in range(len(head)):
        assert end_of_head(head[:cut]) is None
        assert end_of_head(head, cut) == len(head)


def test_a_head_is_status_and_headers_in_lower_case() -> None:
    data = b"HTTP/1.0 429 Too Many\r\nRetry-After:  7 \r\nX-A: 1\r\nx-a: 2\r\nX-Latin: \xe4\r\nX-Empty:\r\n\r\n"

    assert parse_head(data) == Head(429, {"retry-after": "7", "x-a": "1, 2", "x-latin": "ä", "x-empty": ""})


def test_a_status_line_needs_no_reason() -> None:
    assert parse_head(b"HTTP/1.1 101\r\n\r\n").status == 101


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GET /?s3cr3t HTTP/1.1\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 s3cr3t\r\n\r\n",
        b"HTTP/1.1 2000 s3cr3t\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ns3cr3t\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n s3cr3t: folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ns3cr3t : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: s3cr3t\r\n\r\n",
    ],
)
def test_what_is_no_head_is_refused_without_being_quoted(data: bytes) -> None:
    with pytest.raises(ValueError, match="answer") as raised:
        parse_head(data)

    assert "s3cr3t" not in str(raised.value)


def test_tokens() -> None:
    assert tokens("keep-alive, Upgrade ,") == {"keep-alive", "upgrade", ""}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "86400"}, LONGEST_RETRY_AFTER),
        ({"retry-after": "9999999999"}, LONGEST_RETRY_AFTER),
        ({"retry-after": "99999999999"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "\u0667"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "7, 8"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 04:00:30 GMT"}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 03:59:30 GMT"}, 0.0),
        ({"retry-after": "Wed, 25 Nov 2026 04:00:00 GMT"}, LONGEST_RETRY_AFTER),
        ({"retry-after": "Tuesday, 24-Nov-26 04:00:30 GMT"}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 05:00:30 GMT", "date": "Tue, 24 Nov 2026 05:00:00 GMT"}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 04:00:30 GMT", "date": "nonsense"}, 30.0),
        ({"retry-after": "Tue, 99 Nov 2026 04:00:30 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "body", "complete"),
    [
        ({"content-length": "3"}, b"ab", False),
        ({"content-length": "3"}, b"abc", True),
        ({"content-length": "0"}, b"", True),
        ({"content-length": "many"}, b"abc", False),
        ({}, b"abc", False),
        ({"transfer-encoding": "gzip, Chunked"}, b"3\r\nabc\r\n", False),
        ({"transfer-encoding": "gzip, Chunked"}, b"3\r\nabc\r\n0\r\n\r\n", True),
    ],
)
def test_when_a_body_is_complete(headers: dict[str, str], body: bytes, complete: bool) -> None:
    assert body_complete(headers, body) is complete


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
        (b"5\r\nabc", b"abc"),
        (b"3\r\nabc\r\nnonsense", b"abc"),
        (b"nonsense", b""),
        (b"0\r\n\r\n", b""),
    ],
)
def test_chunks_lose_their_framing(body: bytes, content: bytes) -> None:
    assert body_content({"transfer-encoding": "chunked"}, body) == content
    assert body_content({}, body) == body
