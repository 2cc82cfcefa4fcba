"""The settings of both kinds of process: one TOML file and the environment, checked as a whole.

The rule: this package is the leaf, imported by ingest and workers and importing neither; every problem is reported at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from settings.document import read_document
from settings.environment import Environment, feeds_file, on_dyno
from settings.model import Settings
from settings.problems import KeyPath, Problem, SettingsError, explain, show_path, unknown_key
from settings.substitution import Substitution

__all__ = ["Problem", "Settings", "SettingsError", "load"]

#: What the loader puts into every feed's table; the file must not.
_INJECTED = ("name", "secrets")


def load(
    path: Path | None = None, environ: Mapping[str, str] = os.environ, *, spools: bool = True, needed: bool = True
) -> Settings:
    """Return the settings of a file (by default FEEDS_FILE, or feeds.toml); `SettingsError` with every problem.

    ``spools``: whether this process, or one like it, will write to the feeds' spool folders, so that they must be there.
    ``needed``: whether there must be a file; if not, and none is named nor is there a feeds.toml, the environment is all.
    """
    problems: list[Problem] = []
    try:
        Environment.read(environ)
    except SettingsError as error:
        problems += error.problems
    file = path if path is not None else feeds_file(environ)
    absent = not needed and path is None and not environ.get("FEEDS_FILE") and not file.exists()
    try:
        document = {} if absent else read_document(file)
    except SettingsError as error:
        raise SettingsError([*problems, *error.problems]) from None
    settings, found = _validated(document, environ, spools)
    if settings is None or problems:
        raise SettingsError([*problems, *found])
    return settings


def _validated(document: dict[str, Any], environ: Mapping[str, str], spools: bool) -> tuple[Settings | None, list[Problem]]:
    substitution = Substitution(environ)
    expanded = substitution.apply(_with_default_broker(document, environ))
    problems = [*substitution.problems, *_inject(expanded, substitution)]
    if on_dyno(environ):
        _on_passing_disks(expanded)
    try:
        settings = Settings.model_validate(expanded, context={"files": True, "spools": spools})
    except ValidationError as error:
        found = explain(error, Settings, substitution.sources)
        problems += [
            Problem(show_path(where), text)
            for where, text in found
            if where not in substitution.unresolved and not _is_injected_name(where)
        ]
        return None, problems
    return (None if problems else settings), problems


def _with_default_broker(document: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Let REDIS_URL stand where the file names no Redis; ``url = "${REDIS_URL}"`` says the same as nothing."""
    broker = document.get("broker", {})
    if not isinstance(broker, dict) or broker.get("url", "${REDIS_URL}") != "${REDIS_URL}":
        return document
    url = {"url": "${REDIS_URL}"} if environ.get("REDIS_URL") else {}
    return {**document, "broker": {key: value for key, value in broker.items() if key != "url"} | url}


def _inject(document: dict[str, Any], substitution: Substitution) -> list[Problem]:
    """Give every feed its name and its secrets; return the problems of a file that does so itself."""
    feeds = document.get("feeds")
    problems = []
    for name, feed in feeds.items() if isinstance(feeds, dict) else ():
        if isinstance(feed, dict):
            wrong = [("feeds", name, key) for key in _INJECTED if key in feed]
            problems += [Problem(show_path(path), unknown_key(Settings, path)) for path in wrong]
            feed |= {"name": name, "secrets": tuple(map(SecretStr, substitution.values_below(("feeds", name))))}
    return problems


def _is_injected_name(where: KeyPath) -> bool:
    """Whether a problem is that of a feed's name, which its table's key has as well."""
    return len(where) == 3 and where[0] == "feeds" and where[2] == "name"


def _on_passing_disks(document: dict[str, Any]) -> None:
    """Let every spool that does not say otherwise know that its folder ends with this process."""
    feeds = document.get("feeds")
    for feed in feeds.values() if isinstance(feeds, dict) else ():
        if isinstance(feed, dict) and isinstance(spool := feed.get("spool"), dict):
            spool.setdefault("persistent", False)
