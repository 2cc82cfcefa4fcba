"""Makes sure that ``import settings`` means ours, and says in words why a worker process cannot start.

The rule: imports nothing of this project, because it runs before anything of it can be imported.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

#: Where our top-level packages lie beside each other.
ROOT = Path(__file__).resolve().parent.parent


def claim_settings(root: Path = ROOT) -> None:
    """Import our ``settings``, also where the working directory, which is first on the path, has its own.

    A foreign one that is already imported stays: then ``ImportError`` (inside the ``dramatiq`` command: exit code 1).
    """
    if "settings" not in sys.modules:
        sys.path.insert(0, str(root))
        try:
            import settings  # noqa: F401 - the import is the purpose, and the path is ours only meanwhile
        finally:
            sys.path.remove(str(root))
    found = getattr(sys.modules["settings"], "__file__", None)
    if found is None or Path(found).resolve().parent.parent != root:
        text = (
            f"the module 'settings' is already imported from {found or 'elsewhere'} and shadows ours in {root}; "
            "import 'workers' first, or rename that module"
        )
        if "dramatiq.cli" in sys.modules:
            exit_with(text)
        raise ImportError(text)


def exit_with(text: str) -> NoReturn:
    """End this worker process with a text and exit code 1.

    The text goes to the real standard error: inside the ``dramatiq`` command ``sys.stderr`` is a pipe that nobody
    reads any more once all worker processes have gone.
    """
    os.write(2, f"workers: {text}\n".encode())
    sys.exit(1)
