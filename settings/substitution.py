"""Puts the environment's values where the file says ``${NAME}``, and remembers where it did.

The rule: texts only, at any depth, keys never; ``$${`` is a literal ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from settings.problems import KeyPath, Problem, show_path

_PATTERN = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


@dataclass(slots=True)
class Substitution:
    """One pass over a document: ``sources`` names the variables behind a value, ``values`` what they brought.

    A text that names an unset variable is a problem and stays as it is; its path is in ``unresolved``.
    """

    environ: Mapping[str, str]
    sources: dict[KeyPath, tuple[str, ...]] = field(default_factory=dict)
    unresolved: set[KeyPath] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def apply(self, value: Any, path: KeyPath = ()) -> Any:
        """Return the value with every reference replaced."""
        match value:
            case dict():
                return {key: self.apply(item, (*path, key)) for key, item in value.items()}
            case list():
                return [self.apply(item, (*path, index)) for index, item in enumerate(value)]
            case str() if "${" in value:
                return self._apply_text(value, path)
            case _:
                return value

    def values_below(self, prefix: KeyPath) -> list[str]:
        """Return what the environment brought into the tables at and below ``prefix``."""
        names = {name for path, names in self.sources.items() if path[: len(prefix)] == prefix for name in names}
        return [self.environ[name] for name in sorted(names) if self.environ[name]]

    def _apply_text(self, text: str, path: KeyPath) -> str:
        names = [name for name in _PATTERN.findall(text) if name]
        unset = [name for name in dict.fromkeys(names) if name not in self.environ]
        if any(match.group() == "${" for match in _PATTERN.finditer(text)):
            self._refuse(path, "${ without a legal NAME} behind it: write $${ for a literal ${")
        for name in unset:
            self._refuse(path, f"the environment variable {name} is not set")
        if path in self.unresolved:
            return text
        if names:
            self.sources[path] = tuple(dict.fromkeys(names))
        return _PATTERN.sub(lambda match: self.environ[match.group(1)] if match.group(1) else "${", text)

    def _refuse(self, path: KeyPath, text: str) -> None:
        self.unresolved.add(path)
        self.problems.append(Problem(show_path(path), text))
