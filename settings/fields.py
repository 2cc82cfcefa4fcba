"""The types of single values: what a duration, a name, a reference or a code must look like.

The rule: a refusal is one sentence that says what is wrong and what would be right; it shows the value only
through `refuse`, so that the loader can hide one that came from the environment.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

T = TypeVar("T")

HOUR = 3600.0
DAY = 24 * HOUR


def refuse(text: str, value: object = None) -> PydanticCustomError:
    """Return the error of a value; ``{value}`` in ``text`` stands for the value as the reader may see it."""
    return PydanticCustomError("refused", "{text}", {"text": text.replace("{value}", repr(value)), "template": text})


def _seconds(longest: float) -> Callable[[float], float]:
    def check(value: float) -> float:
        whole_hours = longest == HOUR and value <= DAY and value % HOUR == 0
        if value > longest and not whole_hours:
            limit = "an hour (whole hours, up to a day, are taken)" if longest == HOUR else f"{longest / 60:g} minutes"
            limit = f"{longest:g} seconds" if longest < 60 else limit
            raise refuse(f"{value:g} s is more than {limit}; durations are seconds, did you mean {value / 1000:g}?")
        return value

    return check


#: A duration. Above an hour it is taken for milliseconds (an ``idle_timeout`` of 15000), unless it is whole hours.
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(_seconds(HOUR))]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_seconds(HOUR))]

#: A duration for which one answer is awaited: above ten minutes it is taken for milliseconds.
Timeout = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_seconds(600.0))]

#: How long something waits for company: above half a minute it is taken for milliseconds. 0 is not at all.
BriefWait = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(_seconds(30.0))]

#: A list in TOML; a tuple here. Its items stay strict.
Items = Annotated[tuple[T, ...], Field(strict=False)]


def _matching(pattern: str, text: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise refuse(text, value)
        return value

    return check


def _text(pattern: str, text: str) -> Any:
    """Return the annotation of a text that must match; the JSON Schema carries the pattern."""
    return Field(json_schema_extra={"pattern": f"^(?:{pattern})$"}), AfterValidator(_matching(pattern, text))


_IDENTIFIER = r"[A-Za-z_]\w*"
_MODULE = rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})*"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 -- RFC 9110, 5.6.2, calls it that

_reference = _text(rf"{_MODULE}:{_IDENTIFIER}", '{value} is no reference: write "package.module:name"')
_module = _text(_MODULE, '{value} is no module name: write "package.module"')
_feed_name = _text(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", "a feed's name is at most 100 letters, digits, dots, dashes and underscores"
)
_label = _text(r"[A-Za-z0-9_.:/@-]{1,100}", "{value} is no label: at most 100 letters, digits and any of _ . : / @ -")
_actor = _text(r"[^\s\x00-\x1f\x7f]{1,200}", "{value} is no actor name: 1 to 200 characters without white space")
_token = _text(_TOKEN, "{value} is no token (RFC 9110): letters, digits and any of !#$%&'*+.^_`|~- are legal")
_namespace = _text(r"[^\s\x00-\x1f\x7f]{1,100}", "{value} is no namespace: 1 to 100 characters without white space")
_group = _text(r"[A-Za-z0-9_-]{0,100}", "{value} is no group: at most 100 letters, digits, dashes and underscores")
_origin = _text(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@]+|null", '{value} is no origin: write "https://host" without a path')


def _queue_name(value: str) -> str:
    # What Dramatiq's actor decorator accepts (it is stricter than its broker).
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9._-]*", value):
        raise refuse(
            "{value} is no queue name: it starts with a letter or underscore; letters, digits and any of . _ - follow", value
        )
    if value.endswith((".DQ", ".XQ")):
        raise refuse("{value} is no queue name: Dramatiq's own delay and dead-letter queues end in .DQ and .XQ", value)
    return value


@lru_cache(maxsize=256)
def why_no_queue(value: str) -> str | None:
    """Return in one sentence why a text is no `QueueName`; None if it is one."""
    try:
        _queue_name(value)
    except PydanticCustomError as error:
        return error.message()
    return None


def is_reference(value: str) -> bool:
    """Tell whether a text has the form of a `Reference`."""
    return re.fullmatch(rf"{_MODULE}:{_IDENTIFIER}", value) is not None


def is_module(value: str) -> bool:
    """Tell whether a text has the form of a `Module`."""
    return re.fullmatch(_MODULE, value) is not None


#: A callable or class named as ``"package.module:name"``.
Reference = Annotated[str, *_reference]
Module = Annotated[str, *_module]
FeedName = Annotated[str, *_feed_name]
Label = Annotated[str, *_label]
ActorName = Annotated[str, *_actor]
QueueName = Annotated[str, AfterValidator(_queue_name)]
Token = Annotated[str, *_token]
Namespace = Annotated[str, *_namespace]
Origin = Annotated[str, *_origin]
Group = Annotated[str, *_group]


def _existing_file(value: str, info: ValidationInfo) -> str:
    # Only where the loader validates: a value made in code may name a file of another machine.
    if info.context is not None and not os.access(value, os.R_OK):
        raise refuse("there is no readable file {value}", value)
    return value


def _ip_address(value: str) -> str:
    # A name would be looked up when the socket is bound to it, for as long as that takes.
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise refuse('{value} is no IP address: write one of this machine, such as "192.0.2.7" or "2001:db8::7"', value) from None
    return value


IPAddress = Annotated[str, AfterValidator(_ip_address)]

#: The name of a file, relative to the working directory.
ExistingFile = Annotated[str, AfterValidator(_existing_file)]


def _spool_folder(value: str, info: ValidationInfo) -> str:
    # Only where the process that validates is one that will write there: workers may run elsewhere, or as another user.
    if info.context is not None and info.context.get("spools"):
        if not os.path.lexists(value):
            raise refuse("there is no folder {value}: create it, owned by the user that runs the feeds", value)
        if not os.path.isdir(value):
            raise refuse("{value} is no folder: name the folder that the spool's files go into", value)
        if not os.access(value, os.R_OK | os.W_OK | os.X_OK):
            raise refuse("the folder {value} is not writable for the user that runs the feeds: change its owner or mode", value)
    return value


#: The name of a folder that exists and may be written to, relative to the working directory.
SpoolFolder = Annotated[str, AfterValidator(_spool_folder)]


def _code(lowest: int, highest: int, classes: tuple[str, ...], what: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if value not in classes if isinstance(value, str) else not (is_number and lowest <= value <= highest):
            names = " or ".join(f'"{name}"' for name in classes)
            raise refuse(f"{{value}} is no {what}: a number from {lowest} to {highest}, {names}", value)
        return value

    return check


StatusOrClass = Annotated[int | Literal["3xx", "4xx", "5xx"], BeforeValidator(_code(300, 599, ("3xx", "4xx", "5xx"), "status"))]
CodeOrClass = Annotated[
    int | Literal["1xxx", "3xxx", "4xxx"], BeforeValidator(_code(1000, 4999, ("1xxx", "3xxx", "4xxx"), "close code"))
]


def json_value(value: Any) -> Any:
    """Check that a value of TOML is one of JSON too: TOML's dates, infinities and NaN are not."""
    match value:
        case dict():
            for item in value.values():
                json_value(item)
        case list():
            for item in value:
                json_value(item)
        case float() if not math.isfinite(value):
            raise refuse(f"{value} is no JSON value")
        case str() | int() | float() | None:
            pass
        case _:
            raise refuse(f"a {type(value).__name__} is no JSON value: write it as text or as a number")
    return value


JSONValue = Annotated[Any, AfterValidator(json_value)]
