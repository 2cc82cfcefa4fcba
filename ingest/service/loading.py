"""Loads the settings; where they are wrong, says also which of the names in them lead nowhere, or to what they must not.

The rule: every problem at once. A name is tried although the rest of its table is wrong, if it has the form of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest.imports import ImportRefused
from ingest.service.references import middleware_of, resolve, wrong_function, wrong_session
from settings import load
from settings.document import read_document
from settings.environment import feeds_file
from settings.fields import is_module, is_reference
from settings.model import Settings
from settings.problems import Problem, SettingsError, show_path

#: The keys of a feed's table that hold a reference, as the way to them.
_OF_A_FEED = (("session",), ("subscribe_function",), ("headers_function",), ("retry", "function"))

#: The lists of names elsewhere.
_MIDDLEWARE = ("broker", "middleware")
_SUBSCRIBERS = ("telemetry", "subscribers")
_ACTORS = ("workers", "actors")


def load_settings(path: Path | None, *, actors: bool = False, spools: bool = True) -> Settings:
    """Return the settings of a file; `SettingsError` with every problem, of its values and of the names in it.

    ``actors``: try the modules of ``[workers] actors`` too where the rest is wrong. Which feed's actor is in them can be said
    only of a file that is right. ``spools``: whether the feeds' spool folders must be there.
    """
    try:
        return load(path, spools=spools)
    except SettingsError as error:
        raise SettingsError([*error.problems, *_dead_names(path if path is not None else feeds_file(), actors)]) from None


def _dead_names(path: Path, actors: bool) -> list[Problem]:
    try:
        document = read_document(path)
    except SettingsError:
        return []  # then that is the problem
    dead = [problem for where, name in _names(document) if (problem := _tried(where, name)) is not None]
    return [*dead, *_dead_actors(document)] if actors else dead


def _dead_actors(document: dict[str, Any]) -> list[Problem]:
    """Return which modules of actors do not import; nothing where the middleware that they may need does not."""
    from ingest.service.actors import import_actors  # they bring Dramatiq, which no other command needs for this

    middleware = middleware_of(name for _, name in _list(document, _MIDDLEWARE) if is_reference(name))
    modules = [(number, name) for number, name in _list(document, _ACTORS) if is_module(name)]
    return import_actors(modules, middleware)[1] if middleware is not None else []


def _names(document: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every name of code, and where it stands, as far as the document has the form of settings."""
    feeds = document.get("feeds")
    for feed, table in feeds.items() if isinstance(feeds, dict) else ():
        for way in _OF_A_FEED:
            name = _at(table, way)
            if isinstance(name, str):
                yield ("feeds", feed, *way), name
    for way in (_MIDDLEWARE, _SUBSCRIBERS):
        for number, name in _list(document, way):
            yield (*way, number), name


def _list(document: dict[str, Any], way: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield the texts of a list, and at which place each stands."""
    names = _at(document, way)
    for number, name in enumerate(names) if isinstance(names, list) else ():
        if isinstance(name, str):
            yield number, name


def _at(value: Any, way: tuple[str, ...]) -> Any:
    for key in way:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _tried(where: tuple[str | int, ...], name: str) -> Problem | None:
    if not is_reference(name):
        return None  # that is a problem of the form, told already
    try:
        found = resolve(name)
    except ImportRefused as error:
        return Problem(show_path(where), str(error))
    wrong = None if where[:2] == _MIDDLEWARE else (wrong_session if where[-1] == "session" else wrong_function)(name, found)
    return Problem(show_path(where), wrong) if wrong is not None else None
