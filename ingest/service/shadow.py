"""Finds foreign modules that stand before ours on Python's path.

The rule: imports nothing of this project, because it runs before ``settings`` can be imported.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

#: The directory in which our top-level packages lie beside each other.
ROOT = Path(__file__).resolve().parent.parent.parent


def find_foreign(module: str, path: list[str] | None = None) -> Path | None:
    """Return where a module of this name comes from if that is not our root; ``path`` is searched in place of sys.path."""
    spec = PathFinder.find_spec(module, path)
    places = [spec.origin] if spec is not None and spec.origin else list(spec.submodule_search_locations or ()) if spec else []
    found = Path(places[0]).resolve() if places else None
    return found if found is not None and not found.is_relative_to(ROOT / module) else None


def foreign_workers() -> Path | None:
    """Return the module that ``dramatiq workers`` would import in place of ours: it looks in the working directory first."""
    return find_foreign("workers", [str(Path.cwd()), *sys.path])


def refuse_foreign_settings() -> None:
    """End the process with exit code 2 where ``import settings`` would give another module than ours."""
    foreign = find_foreign("settings")
    if foreign is None:
        return
    shown = os.path.relpath(foreign) if foreign.is_relative_to(Path.cwd()) else str(foreign)
    sys.stderr.write(
        f"{shown} shadows the module 'settings' of dramatiq-websocket in {ROOT}\n"
        "  rename it, or use the command dramatiq-websocket (in place of python -m ingest), which puts ours first\n"
    )
    sys.exit(2)
