"""The real command line, as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Longer than a command that starts nothing needs, also on a busy machine.
TIMEOUT = 60.0

#: What `run_command` starts in place of ``python -m ingest`` to get what the console script does.
CONSOLE_SCRIPT = ("-c", "from ingest.service.console import main; main()")


def run_command(
    folder: Path, *arguments: str, program: tuple[str, ...] = ("-m", "ingest"), **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m ingest …`` in a folder, with these variables and none of ours from outside."""
    ours = ("REDIS_URL", "FEEDS_FILE", "SENTRY_DSN", "LOG_LEVEL", "LOG_FORMAT", "PYTHONSAFEPATH", "PYTHONWARNINGS")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
