"""The Procfile's own lines, so that the demonstration runs exactly what a deployment runs.

The rule: honcho parses; what a line means (`$PORT`, `${X:-2}`) is the shell's business.
"""

from __future__ import annotations

from pathlib import Path

from honcho.environ import parse_procfile


class ProcfileError(Exception):
    """The Procfile cannot be used; the text says why."""


def load(path: Path, needed: tuple[str, ...]) -> dict[str, str]:
    """Return the commands of the `needed` lines of a Procfile."""
    try:
        lines: dict[str, str] = parse_procfile(path.read_text(encoding="utf-8")).processes
    except OSError as error:
        raise ProcfileError(f"{path}: {error.strerror}") from error
    except AssertionError as error:  # honcho's way to say that a name comes twice
        raise ProcfileError(f"{path}: {error}") from error
    missing = [name for name in needed if name not in lines]
    if missing:
        raise ProcfileError(f"{path}: no line {', '.join(f'{name!r}' for name in missing)}")
    return {name: lines[name] for name in needed}
