"""A terminal of its own for a command, without forking the test (which has threads)."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_LOGIN = "import os, sys; os.login_tty(int(sys.argv[1])); os.execvp(sys.argv[2], sys.argv[2:])"


class Terminal:
    """A command that leads a terminal's session, and what the terminal has shown."""

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self._ours, theirs = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LOGIN, str(theirs), *command], cwd=cwd, env=dict(env), pass_fds=[theirs]
        )
        os.close(theirs)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def until(self, text: str, timeout: float) -> None:
        """Read what is shown until it holds a text."""
        deadline = time.monotonic() + timeout
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} was not shown:\n{self.shown[-3000:]}"
            self._read()

    def close(self) -> None:
        """Take the terminal away, and wait for the command."""
        os.close(self._ours)
        self.process.wait()

    def _read(self) -> None:
        readable, _, _ = select.select([self._ours], [], [], 0.2)
        if readable:
            self.shown += os.read(self._ours, 65536).decode(errors="replace")
