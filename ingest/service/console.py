"""The console script ``dramatiq-websocket``.

The rule: it sets Python's path before anything else of this project is imported: our root first, so that a ``settings.py`` of
the user's does not shadow ours, and the working directory last, so that the user's own modules are found.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ingest.service.shadow import ROOT


def main() -> None:
    """Run the command line."""
    sys.path[:] = arranged(sys.path, str(ROOT), str(Path.cwd()))

    from ingest.service.cli import main as run_command_line  # the path first, see above

    run_command_line()


def arranged(path: list[str], root: str, working_directory: str) -> list[str]:
    """Return Python's path with our root first and the working directory last."""
    between = [entry for entry in path if entry not in {"", root, working_directory}]
    return [root, *between] if root == working_directory else [root, *between, working_directory]
