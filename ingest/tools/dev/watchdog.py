"""Ends what `dev` has started when `dev` itself can no longer do it: the other end of a pipe, in a process of its own.

The rule: as a process this file imports the standard library only and never trusts `dev` to say goodbye; the end of the pipe
says it, whatever killed `dev`. Each started command writes its own process group into the pipe *before* it becomes itself,
and holds the pipe open until then, so there is no moment at which a group runs and is not known here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

#: Seconds that members of a group get to end after their leader has.
LEFTOVER = 3.0
_TICK = 0.05


class Watchdog:
    """The handle that `dev` holds: knows the groups, and starts the process again if someone kills it."""

    def __init__(self) -> None:
        self._groups: dict[int, float] = {}
        self._directories: list[Path] = []
        # Our reading end stays open: a watchdog that was killed must not turn the next write into an error.
        self._read, self.fd = os.pipe()
        self._process = self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def add(self, pgid: int, grace: float) -> None:
        """Remember a group, which has `grace` seconds to end when asked; it has told the process itself."""
        self._groups[pgid] = grace

    def remove(self, pgid: int) -> None:
        """Forget a group that has ended, before its number can become somebody else's."""
        self._groups.pop(pgid, None)
        self._tell(f"-{pgid}")

    def clean(self, directory: Path) -> None:
        """Remove `directory` with everything in it, at the very end."""
        self._directories.append(directory)
        self._tell(f"d{directory}")

    def ensure(self) -> bool:
        """Start the process again if it has ended; return whether it had."""
        if self._process.poll() is None:
            return False
        self._process = self._start()
        for directory in self._directories:
            self._tell(f"d{directory}")
        for pgid, grace in self._groups.items():
            self._tell(f"+{pgid} {grace}")
        return True

    def close(self) -> None:
        """Close the pipe and wait until the process has ended what is left and removed the directories."""
        if self.fd < 0:
            return
        os.close(self.fd)
        os.close(self._read)
        self.fd = self._read = -1
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        # -I -S: no site, no path, 15 ms; a session of its own, so that no Ctrl-C and no killed group reaches it.
        command = [sys.executable, "-I", "-S", __file__]
        return subprocess.Popen(
            command, stdin=self._read, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/"
        )

    def _tell(self, line: str) -> None:
        os.write(self.fd, f"{line}\n".encode())


def end_group(pgid: int, grace: float) -> None:
    """End a process group: its leader first, who knows how; after `grace` seconds everything in it, at once."""
    # Only the leader: Dramatiq's master hands the signal on, and a worker that gets it twice gives up its messages.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pgid, signal.SIGTERM)
        wait_for(lambda: not process_alive(pgid), grace)
    if not signal_group(pgid, signal.SIGTERM) or wait_for(lambda: not group_alive(pgid), LEFTOVER):
        return
    signal_group(pgid, signal.SIGKILL)
    wait_for(lambda: not group_alive(pgid), LEFTOVER)


def signal_group(pgid: int, number: signal.Signals) -> bool:
    """Send a signal to all of a group; False when there is nobody left in it."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM where only zombies are left
        return False
    return True


def group_alive(pgid: int) -> bool:
    """Say whether anything in the group still runs; zombies do not."""
    try:
        os.killpg(pgid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    states = [state for state, group in _process_table() if group == pgid]
    return not states or any(state not in "ZX" for state in states)


def process_alive(pid: int) -> bool:
    """Say whether a process runs; a zombie, which some containers never reap, does not."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    stat = _stat(Path("/proc") / str(pid))
    return stat is None or stat[0] not in "ZX"


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until the condition holds; False when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_TICK)
    return True


def guard(lines: Iterable[str]) -> None:
    """Keep the list of groups until the pipe ends; then end them, the latest first (ingest, workers, …, server)."""
    groups: dict[int, float] = {}
    directories: list[str] = []
    for line in lines:
        mark, rest = line[:1], line[1:].rstrip("\n")
        if mark == "+":
            pgid, grace = rest.split()
            groups[int(pgid)] = float(grace)
        elif mark == "-":
            groups.pop(int(rest), None)
        elif mark == "d":
            directories.append(rest)
    for group, seconds in reversed(groups.items()):
        end_group(group, seconds)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _process_table() -> Iterable[tuple[str, int]]:
    """Yield (state, process group) of every process, where the system has /proc; nothing elsewhere."""
    for entry in Path("/proc").glob("[0-9]*"):
        stat = _stat(entry)
        if stat is not None:
            yield stat


def _stat(entry: Path) -> tuple[str, int] | None:
    try:
        # The name, in parentheses, may hold anything: what counts comes after the last one.
        state, _parent, group, *_ = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return state, int(group)


def main() -> None:
    """Be the watchdog: deaf to what ends the others."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    guard(sys.stdin)


if __name__ == "__main__":
    main()
