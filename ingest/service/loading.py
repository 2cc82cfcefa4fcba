"""Loads the settings; where they are wrong, says also which of the names in them lead nowhere.

The rule: every problem at once. A name is tried although the rest of its table is wrong, if it has the form of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest.imports import ImportRefused, import_object
from settings import load
from settings.document import read_document
from settings.environment import feeds_file
from settings.fields import is_reference
from settings.model import Settings
from settings.problems import Problem, SettingsError, show_path

#: The keys of a feed's table that hold a reference, as the way to them.
_OF_A_FEED = (("session",), ("subscribe_function",), ("headers_function",), ("retry", "function"))

#: The lists of references elsewhere. (Not the modules of actors: they want a broker, which wrong settings cannot make.)
_LISTS = (("broker", "middleware"), ("telemetry", "subscribers"))


def load_settings(path: Path | None, *, spools: bool = True) -> Settings:
    """Return the settings of a file; `SettingsError` with every problem, of its values and of the names in it.

    ``spools``: whether the feeds' spool folders must be there.
    """
    try:
        return load(path, spools=spools)
    except SettingsError as error:
        raise SettingsError([*error.problems, *_dead_names(path if path is not None else feeds_file())]) from None


def _dead_names(path: Path) -> list[Problem]:
    try:
        document = read_document(path)
    except SettingsError:
        return []  # then that is the problem
    return [problem for where, name in _names(document) if (problem := _tried(where, name)) is not None]


def _names(document: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every name of code, and where it stands, as far as the document has the form of settings."""
    feeds = document.get("feeds")
    for feed, table in feeds.items() if isinstance(feeds, dict) else ():
        for way in _OF_A_FEED:
            name = _at(table, way)
            if isinstance(name, str):
                yield ("feeds", feed, *way), name
    for way in _LISTS:
        names = _at(document, way)
        for number, name in enumerate(names) if isinstance(names, list) else ():
            if isinstance(name, str):
                yield (*way, number), name


def _at(value: Any, way: tuple[str, ...]) -> Any:
    for key in way:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _tried(where: tuple[str | int, ...], name: str) -> Problem | None:
    try:
        if is_reference(name):
            import_object(name)
    except ImportRefused as error:
        return Problem(show_path(where), str(error))
    return None
