"""Which version of this software runs.

The rule: a source tree that runs without being installed says its own, whatever else is installed beside it.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: What the distribution is called.
DISTRIBUTION = "dramatiq-websocket"

#: The directory in which our top-level packages lie beside each other.
ROOT = Path(__file__).resolve().parent.parent


def project_version(root: Path = ROOT) -> str:
    """Return the version of the source tree, or of the installed distribution; ``unknown`` for packages that were only copied."""
    source = root / "pyproject.toml"
    if source.is_file():
        project = tomllib.loads(source.read_text("utf-8")).get("project", {})
        if project.get("name") == DISTRIBUTION:
            return str(project["version"])
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
