"""One command in a process group of its own, known to the watchdog before it runs.

The rule: only a group's leader is asked to end; what is left of the group after it is swept away.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from ingest.tools.dev.watchdog import Watchdog, group_alive, signal_group

#: What makes a line more than one command: then the shell stays, instead of becoming it.
_OPERATORS = ";&|()"


class Group:
    """A running command: its leader, its output (one pipe for both streams), its end."""

    def __init__(self, name: str, line: str, *, grace: float, watchdog: Watchdog, env: Mapping[str, str], cwd: Path) -> None:
        """Start `line` (shell syntax); it has `grace` seconds to end when asked."""
        self.name = name
        self.grace = grace
        self._watchdog = watchdog
        # The shell's input is the watchdog's pipe at first: it tells its number, lets go of the pipe, and becomes the command.
        # `env` lets a line begin with assignments, which `exec` alone would take for the command's name.
        command = line if is_compound(line) else f"exec env {line}"
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f"printf '+%s %s\\n' \"$$\" {grace:g} >&0 && exec </dev/null || exit 126\n{command}"],
            stdin=watchdog.fd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(env),
            cwd=cwd,
        )
        watchdog.add(self.pgid, grace)
        os.set_blocking(self.output.fileno(), False)

    @property
    def pgid(self) -> int:
        """The number of the group, which is also its leader's and its session's."""
        return self._process.pid

    @property
    def output(self) -> IO[bytes]:
        """What the command and its children say; non-blocking."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def exit_code(self) -> int | None:
        """The leader's exit code (negative: the signal that ended it), None while it runs."""
        return self._process.poll()

    @property
    def alive(self) -> bool:
        """Whether anything in the group runs, leader or not."""
        return self.exit_code is None or group_alive(self.pgid)

    def ask(self) -> None:
        """Ask the leader to end in order."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)

    def sweep(self, number: signal.Signals) -> None:
        """Send a signal to everything in the group."""
        if self.alive:
            signal_group(self.pgid, number)

    def reap(self) -> int:
        """Take the exit code of a group that has ended, and let the watchdog forget it."""
        exit_code = self._process.wait()
        self._watchdog.remove(self.pgid)
        return exit_code


def is_compound(line: str) -> bool:
    """Say whether a line holds operators outside of its quotes; one that is not balanced is the shell's to refuse."""
    try:
        words = list(shlex.shlex(line, posix=False, punctuation_chars=_OPERATORS))
    except ValueError:
        return True
    return any(set(word) <= set(_OPERATORS) for word in words)
