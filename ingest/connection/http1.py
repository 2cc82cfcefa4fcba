"""As much of HTTP/1.1 as an upgrade and a CONNECT need: response heads, ``Retry-After``, small bodies.

The rule: pure functions; a ValueError's text never quotes the server, which may be echoing what we sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

#: Seconds: a server that wants us back later than this is asked again after this.
LONGEST_RETRY_AFTER = 15 * 60.0

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: .*)?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]*\r?\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Head:
    """A response's status and headers: names in lower case, repeated ones joined with a comma."""

    status: int
    headers: Mapping[str, str] = field(repr=False)


def end_of_head(data: bytes | bytearray, start: int = 0) -> int | None:
    """Return where the head in ``data`` ends, its empty line included; ``start`` is how far it is known not to."""
    found = _END_OF_HEAD.search(data, max(0, start - 3))
    return None if found is None else found.end()


def parse_head(data: bytes) -> Head:
    """Parse a complete head; raise ValueError where it is none."""
    status_line, *lines = (line.removesuffix(b"\r") for line in data.rstrip(b"\r\n").split(b"\n"))
    matched = _STATUS_LINE.fullmatch(status_line)
    if matched is None:
        raise ValueError("not an HTTP/1.1 answer")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise ValueError("an answer with a malformed header line")
        key, text = name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Head(int(matched[1]), headers)


def tokens(value: str) -> frozenset[str]:
    """Return the members of a comma-separated header, in lower case."""
    return frozenset(part.strip(" \t").lower() for part in value.split(","))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds of ``Retry-After`` (a number or a date), at most 15 minutes; None where there is none.

    ``now`` is our wall clock in seconds. The server's own ``Date`` is preferred to it: the two clocks may differ.
    """
    value = headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,10}", value):
        return min(float(value), LONGEST_RETRY_AFTER)
    at = _timestamp(value)
    if at is None:
        return None
    base = _timestamp(headers.get("date", ""))
    return min(max(0.0, at - (now if base is None else base)), LONGEST_RETRY_AFTER)


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None


def body_complete(headers: Mapping[str, str], body: bytes | bytearray) -> bool:
    """Tell whether a response's body has come to its end, as far as its headers tell."""
    if "chunked" in tokens(headers.get("transfer-encoding", "")):
        return body.endswith(b"0\r\n\r\n")
    length = headers.get("content-length", "")
    return bool(re.fullmatch(r"[0-9]{1,18}", length)) and len(body) >= int(length)


def body_content(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return what a body, perhaps cut short, says: without the framing of its chunks."""
    if "chunked" not in tokens(headers.get("transfer-encoding", "")):
        return body
    content, position = bytearray(), 0
    while (chunk := _CHUNK.match(body, position)) is not None and (size := int(chunk[1], 16)) > 0:
        content += body[chunk.end() : chunk.end() + size]
        position = chunk.end() + size + 2
    return bytes(content)
