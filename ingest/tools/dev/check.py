"""Asks our own `check` whether supervisor and workers could start, before anything is started.

The rule: a process of its own, with the directory and the environment of those to come, because the user's modules are imported
in it; it has ended, and left nothing, before the run begins.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ingest.tools.dev.crew import Crew
from ingest.tools.dev.plan import COMMAND_LINE, Ground
from ingest.tools.dev.stop import StopWishes

COMMAND = (*COMMAND_LINE, "check")

#: Seconds in which every module must have been imported.
TIMEOUT = 60.0
#: Seconds that it gets to end when asked; what a module does at import may not listen.
GRACE = 1.0


def find_problems(
    ground: Ground, wishes: StopWishes, *, command: Sequence[str] = COMMAND, timeout: float = TIMEOUT
) -> Sequence[str]:
    """Return what is wrong, a line each; nothing where all is well, or where someone wishes to stop meanwhile."""
    said: list[str] = []
    crew = Crew(lambda _, text: said.append(text), lambda: None, wishes.hurry)
    try:
        # What it prints of good settings is nobody's concern here.
        crew.start("check", f"{shlex.join(command)} >/dev/null", grace=GRACE, env=ground.env, cwd=ground.directory)
        ended = crew.wait(lambda: wishes.asked or bool(crew.fallen()), timeout) and not wishes.asked
        check = crew.end("check")
    finally:
        crew.close()
    if wishes.asked or (ended and check.exit_code == 0):
        return ()
    if not ended:
        return [*said, f"the check did not end within {timeout:g} s: a module that the settings name hangs while it is imported"]
    return said or [str(check)]
