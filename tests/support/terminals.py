"""A terminal of its own for a command, without forking the test (which has threads)."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_LOGIN = "import os, sys; os.login_tty(int(sys.argv[1])); os.execvp(sys.argv[2], sys.argv[2:])"


class Terminal:
    """A command that leads a terminal's session, and what the terminal has shown; ``size`` is columns and rows."""

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str], size: tuple[int, int] | None = None) -> None:
        self._ours, theirs = os.openpty()
        if size is not None:
            self.resize(*size)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LOGIN, str(theirs), *command], cwd=cwd, env=dict(env), pass_fds=[theirs]
        )
        os.close(theirs)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; the command is told (SIGWINCH)."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def forget(self) -> None:
        """Wait for what is shown from now on."""
        self.shown = ""

    def ended(self, timeout: float) -> int:
        """Read what is shown until the command has ended; return its exit code."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it has not ended:\n{self.shown[-3000:]}"
            self._read()
        while self._read():
            pass
        return int(self.process.returncode)

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

    def _read(self) -> bool:
        """Take what is shown within a moment; tell whether that was anything."""
        readable, _, _ = select.select([self._ours], [], [], 0.2)
        try:
            data = os.read(self._ours, 65536) if readable else b""
        except OSError:  # how Linux says that nobody holds the other end any more
            data = b""
            time.sleep(0.02)
        self.shown += data.decode(errors="replace")
        return bool(data)
