"""Turns one payload into the JSON that a message carries.

The rule: fast JSON is written only where Dramatiq's own encoder would write the same value; everything else is told apart here
and left to that encoder, and what is no JSON never gets into a message, because it would stop a worker that reads it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from math import isfinite
from typing import Any, Literal

import orjson

from ingest.errors import PayloadRefused

TextRule = Literal["text", "json"]
BinaryRule = Literal["base64", "utf-8", "latin-1"]

#: Deeper JSON is refused: a worker's parser gives up not far above (and orjson's writer just above).
DEEPEST = 250

#: Digits of an integer that Python reads from text (``sys.int_info.default_max_str_digits``).
LONGEST_NUMBER = 4300

_DIGITS = frozenset(b"0123456789")
_ALIKE = frozenset({str, int, bool, type(None)})
_JSON_SCALARS = (str, int, float, type(None))


def fast_json(value: object) -> bytes | None:
    """Return a value's JSON, or None where orjson would refuse it or write something else than Dramatiq's encoder does."""
    try:
        return orjson.dumps(value) if _is_plain(value) else None
    except (orjson.JSONEncodeError, RecursionError):  # long integers, lone surrogates, depth
        return None


def _is_plain(value: Any) -> bool:
    """Tell whether a value is of exactly the types that both encoders write alike (no subclass, no NaN)."""
    kind = type(value)
    if kind in _ALIKE:
        return True
    if kind is float:
        return isfinite(value)
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        items = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        return False
    for item in items:  # noqa: SIM110  a generator would cost more than all the rest
        if type(item) not in _ALIKE and not _is_plain(item):
            return False
    return True


def text_of(payload: bytes, rule: BinaryRule) -> str:
    """Return the text that a binary payload becomes."""
    if rule == "base64":
        return b64encode(payload).decode("ascii")
    try:
        return payload.decode(rule)
    except UnicodeDecodeError as error:
        raise PayloadRefused("bytes", f"binary = {rule!r}, but {error.reason} at byte {error.start}") from error


def checked_json(text: str) -> bytes:
    """Return a text as it is, if it is one JSON value that a worker can read; `PayloadRefused` otherwise."""
    try:
        data = text.encode()
        value: Any = orjson.loads(data)
        if len(data) > LONGEST_NUMBER and _has_long_number(data):
            value = parsed_json(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        value = parsed_json(text)  # orjson is narrower than the grammar: lone surrogates as escapes, 1e999
        data = text.encode()
    if text.count("[") + text.count("{") > DEEPEST and _is_deep(value):
        raise PayloadRefused("str", f"the JSON is nested deeper than {DEEPEST} levels")
    return data


def parsed_json(text: str) -> Any:
    """Return the value of a JSON text as a worker will see it; `PayloadRefused` if it is none."""
    try:
        text.encode()
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise PayloadRefused("str", f'payload = "json", but the text is no JSON: {error}'[:200]) from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _has_long_number(data: bytes) -> bool:
    """Tell whether there is a run of digits that Python may refuse to read as an integer."""
    # Every such run covers one of these places, where a look to both sides soon meets something else than a digit.
    for place in range(LONGEST_NUMBER - 1, len(data), LONGEST_NUMBER):
        first = last = place
        while first >= 0 and data[first] in _DIGITS:
            first -= 1
        while last < len(data) and data[last] in _DIGITS:
            last += 1
        if last - first > LONGEST_NUMBER:
            return True
    return False


def _is_deep(value: object) -> bool:
    try:
        orjson.dumps(value)  # has about the same limit, and is quick to say that all is well
    except orjson.JSONEncodeError:
        return _depth(value) > DEEPEST
    return False


def _depth(value: object) -> int:
    """Return how many lists and objects are nested in each other."""
    depth, level = -1, [value]
    while level:
        level = [item for each in level for item in _items(each)]
        depth += 1
    return depth


def _items(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


def offender(value: object) -> str:
    """Return the name of the type in a value because of which JSON refuses it; of the value's own type, if none stands out."""
    seen: set[int] = set()
    names: list[object] = []  # keys that are none
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, (dict, list, tuple)):
            if id(each) not in seen:
                seen.add(id(each))
                stack += _items(each)
                names += [key for key in each if not isinstance(key, _JSON_SCALARS)] if isinstance(each, dict) else []
        elif not isinstance(each, _JSON_SCALARS):
            return type(each).__name__
    return type(names[0] if names else value).__name__
