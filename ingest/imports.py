"""Imports what the settings name, and says in one sentence what is wrong with it.

The rule: whatever a user's module raises at import becomes an `ImportRefused` with file and line, never a traceback.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType

from ingest.telemetry.facts import safe_text


class ImportRefused(Exception):
    """A name that leads nowhere; the text says why."""


def import_module(name: str) -> ModuleType:
    """Import a module by its dotted name; `ImportRefused`."""
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a script's sys.exit() at import must not end us without a word
        raise ImportRefused(_import_failed(name, error)) from error


def import_object(reference: str) -> object:
    """Return what ``"package.module:name"`` names; `ImportRefused`."""
    module_name, _, name = reference.partition(":")
    module = import_module(module_name)
    try:
        return getattr(module, name)
    except AttributeError:
        near = difflib.get_close_matches(name, vars(module), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ImportRefused(f"the module {module_name!r} has no {name!r}{hint}") from None


def _import_failed(name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name is not None and f"{name}.".startswith(f"{error.name}."):
        return f"there is no module {error.name!r} (looked in {Path.cwd()} and on the Python path)"
    path, line = _where(error)
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    what = f"{type(error).__name__}: {safe_text(said)}" if said else type(error).__name__
    return f"the module {name!r} does not import: {path}, line {line}: {what}"


def _where(error: BaseException) -> tuple[str, int]:
    """Return file and line of the innermost code that is the user's own; of a library's where there is none."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return _short(error.filename), error.lineno or 0
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    own = [frame for frame in frames[1:] if not _of_library(frame.filename)]
    last = (own or frames)[-1]
    return _short(last.filename), last.lineno or 0


def _of_library(path: str) -> bool:
    return any(path.startswith(sysconfig.get_path(kind) + os.sep) for kind in ("stdlib", "purelib", "platlib"))


def _short(path: str) -> str:
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path
