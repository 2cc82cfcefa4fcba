"""Sans-IO RFC 6455 parser: bytes in, messages and control frames out.

A text message is a ``str``, a binary one ``bytes``; everything else is one of the named tuples below.
"""

from __future__ import annotations

from typing import NamedTuple


class Ping(NamedTuple):
    """A ping (RFC 6455, 5.5.2)."""

    payload: bytes


class Pong(NamedTuple):
    """A pong (RFC 6455, 5.5.3)."""

    payload: bytes


class Close(NamedTuple):
    """A close frame (RFC 6455, 5.5.1); ``code`` is 1005 where it had none."""

    code: int
    reason: str


class Violation(NamedTuple):
    """The stream broke the protocol; nothing after it is read. ``code`` (1002, 1007, 1009) is what to close with."""

    code: int
    detail: str


Received = str | bytes | Ping | Pong | Close | Violation
