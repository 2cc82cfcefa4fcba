"""What is wrong with the settings, as plain sentences with the path of the key.

The rule: a value that came from the environment is never shown, nor is any header, URL or password.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

#: Where a value stands: keys of tables and indices of lists.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: ``path`` is the key, the file or the variable."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class SettingsError(Exception):
    """The settings cannot be used; ``problems`` are all that were found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def show_path(path: KeyPath) -> str:
    """Return a path as TOML writes it: ``feeds.trades.subscribe[0]``."""
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            shown += ("." if shown else "") + (step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else json.dumps(step))
    return shown


def explain(
    error: ValidationError, model: type[BaseModel], sources: Mapping[KeyPath, tuple[str, ...]]
) -> list[tuple[KeyPath, str]]:
    """Return what pydantic found as paths and sentences; ``sources`` names the variables behind a value."""
    found = []
    for detail in error.errors(include_url=False):
        path = tuple(step for step in detail["loc"] if step != "[key]")
        if detail["type"] == "default_factory_not_called":
            continue  # the echo of another problem
        text = unknown_key(model, path) if detail["type"] == "extra_forbidden" else _sentence(detail, sources.get(path, ()))
        found.append((path, text))
    return found


def unknown_key(model: type[BaseModel], path: KeyPath) -> str:
    """Return the sentence for a key that no table has, with the nearest one that there is."""
    table = _table_at(model, path[:-1])
    known = list(_known_keys(table)) if table is not None else []
    near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
    return f"unknown key; did you mean {near[0]}?" if near else "unknown key"


def _known_keys(table: type[BaseModel]) -> Iterable[str]:
    """Yield a table's keys, and those of its tables behind a dot."""
    for name, field in table.model_fields.items():
        if not field.exclude:
            yield name
            below = _table_in(field.annotation)
            yield from (f"{name}.{key}" for key in below.model_fields) if below is not None else ()


def _table_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    annotation: Any = model
    for step in path:
        table = _table_in(annotation)
        if table is not None:
            annotation = table.model_fields[str(step)].annotation
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            return None
    return _table_in(annotation)


def _table_in(annotation: Any) -> type[BaseModel] | None:
    """Return the table that an annotation names, also in ``Table | None``; None for a dictionary of tables."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is dict:
        return None
    return next(filter(None, map(_table_in, get_args(annotation))), None)


#: What must be there, by pydantic's type of error.
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}


def _sentence(detail: ErrorDetails, names: tuple[str, ...]) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    source = " and ".join(f"${{{name}}}" for name in names)
    if kind == "refused":
        template = str(context["template"])
        if "{value}" in template:
            return template.replace("{value}", f"the value of {source}") if names else str(context["text"])
        return f"{template} (from {source})" if names else template
    if kind in _EXPECTED:
        hint = " (an environment variable gives text)" if names else ""
        return f"must be {_EXPECTED[kind]}, not {_kind_of(value)}{hint}"
    if kind == "missing":
        return "is required"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    shown = f", not {value:g}" if isinstance(value, (int, float)) else ""
    return detail["msg"].replace("Input should be", "must be") + shown


def _kind_of(value: object) -> str:
    """Name a TOML value's type; numbers and booleans are shown, as no secret is one."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case dt.date() | dt.time():
            return "a date or time"
        case _:
            return f"a {type(value).__name__}"
