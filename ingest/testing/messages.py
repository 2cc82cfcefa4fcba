"""What a script sends and expects, as values: forms of a message, and when one is as expected.

The rule: pure; a message that cannot be compared is not as expected, and never an error of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

#: What `ScriptedConnection.send` takes: text, binary, or a JSON value, which is sent as text.
Message = str | bytes | dict[str, Any] | list[Any]
#: What `ScriptedConnection.expect` takes: the message, the JSON value of its text, or a predicate over the message.
Expected = Message | Callable[[Any], object]


def encoded(message: Message) -> bytes:
    """Return the message's bytes on the wire."""
    if isinstance(message, bytes):
        return message
    return (message if isinstance(message, str) else json.dumps(message)).encode()


def matches(message: str | bytes, expected: Expected | None) -> bool:
    """Say whether a message is as expected; None expects any."""
    if expected is None:
        return True
    if isinstance(expected, (str, bytes)):
        return message == expected
    if isinstance(expected, (dict, list)):
        try:
            return isinstance(message, str) and bool(json.loads(message) == expected)
        except ValueError:
            return False
    return bool(expected(message))


def describe(expected: Expected | None) -> str:
    """Return how an assertion names what it expected."""
    if expected is None:
        return "a message"
    if callable(expected):
        return f"a message that satisfies {getattr(expected, '__name__', repr(expected))}"
    return repr(expected)
