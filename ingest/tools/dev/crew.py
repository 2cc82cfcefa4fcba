"""The processes of one run: started in order, listened to, ended in the opposite order.

The rule: whatever is waited for, what the processes say is read meanwhile, and the watchdog is looked after.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ingest.clock import Deadline
from ingest.tools.dev.groups import Group
from ingest.tools.dev.watchdog import LEFTOVER, Watchdog, wait_for

#: Told of every line that a process says: its name, the text.
Tell = Callable[[str, str], None]

_EVERY = 0.1
_CHUNK = 64 * 1024
_LONGEST_LINE = 16 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: of its own accord or because it was asked; ``killed`` when it did not obey in time."""

    name: str
    exit_code: int
    asked: bool
    killed: bool = False

    @property
    def clean(self) -> bool:
        return self.asked and not self.killed and self.exit_code in (0, -signal.SIGTERM)

    def __str__(self) -> str:
        if self.killed:
            return f"{self.name} did not end when asked and was killed"
        how = f"exit code {self.exit_code}" if self.exit_code >= 0 else f"killed by {_signal_name(-self.exit_code)}"
        return f"{self.name} ended {'' if self.asked else 'unexpectedly '}({how})"


class Crew:
    """All groups that run, and the watchdog over them; ``hurry`` set means: no more waiting, kill."""

    def __init__(self, tell: Tell, tick: Callable[[], None], hurry: threading.Event) -> None:
        self._tell = tell
        self._tick = tick
        self._hurry = hurry
        self._groups: dict[str, Group] = {}
        self._tails: dict[str, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self.watchdog = Watchdog()

    def start(self, name: str, line: str, *, grace: float, env: Mapping[str, str], cwd: Path) -> None:
        """Start a command; it has `grace` seconds to end when asked."""
        group = Group(name, line, grace=grace, watchdog=self.watchdog, env=env, cwd=cwd)
        self._groups[name] = group
        self._tails[name] = b""
        self._selector.register(group.output, selectors.EVENT_READ, group)

    def running(self, name: str) -> bool:
        """Say whether the process of that name was started and its leader runs."""
        return name in self._groups and self._groups[name].exit_code is None

    def owns(self, pid: int) -> bool:
        """Say whether a process belongs to this run."""
        try:
            pgid = os.getpgid(pid)
        except ProcessLookupError:
            return False
        return any(group.pgid == pgid for group in self._groups.values())

    def started(self, name: str) -> bool:
        """Say whether the process of that name was started and has not been ended."""
        return name in self._groups

    def fallen(self) -> list[str]:
        """Return the names of those that ended without being asked."""
        return [name for name, group in self._groups.items() if group.exit_code is not None]

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Listen until the condition holds; False when it does not within `seconds`, or in a hurry."""
        deadline = Deadline(seconds)
        while not condition():
            if deadline.expired or self._hurry.is_set():
                return False
            self.listen(min(_EVERY, deadline.remaining()))
        return True

    def listen(self, seconds: float) -> None:
        """Wait `seconds` at most for the processes to say something and pass it on; start a killed watchdog again."""
        for key, _ in self._selector.select(seconds):
            self._read(key.data)
        if self.watchdog.ensure():
            self._tell("dev", "the watchdog was killed; started again")
        self._tick()

    def end(self, name: str, longest: float = math.inf) -> Ended:
        """End a process and whatever is left of its group; ask first, kill what does not obey within `longest` or its grace."""
        group = self._groups[name]
        deadline = Deadline(min(longest, group.grace))
        unasked = group.exit_code is not None
        group.ask()
        self.wait(lambda: group.exit_code is not None, deadline.remaining())
        killed = group.exit_code is None
        if not killed and group.alive:
            group.sweep(signal.SIGTERM)
            self.wait(lambda: not group.alive, max(LEFTOVER, deadline.remaining()))
        group.sweep(signal.SIGKILL)
        wait_for(lambda: not group.alive, LEFTOVER)  # also in a hurry: on a busy machine even a killed process ends later
        return self._dismiss(group, asked=not unasked, killed=killed)

    def close(self) -> list[Ended]:
        """End what still runs, the latest first, and then the watchdog."""
        ended = [self.end(name) for name in reversed(list(self._groups))]
        self._selector.close()
        self.watchdog.close()
        return ended

    def _dismiss(self, group: Group, *, asked: bool, killed: bool) -> Ended:
        exit_code = group.reap()
        listened_to = self._selector.get_map()
        while group.output.fileno() in listened_to and self._read(group):
            pass
        if group.output.fileno() in listened_to:  # somebody who left the group still holds the pipe
            self._selector.unregister(group.output)
        group.output.close()
        del self._groups[group.name]
        return Ended(group.name, exit_code, asked, killed)

    def _read(self, group: Group) -> bool:
        """Pass on the lines of one read, cutting those without end; False when there is nothing more for now."""
        try:
            data = os.read(group.output.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        *lines, tail = (self._tails[group.name] + data).split(b"\n")
        if not data or len(tail) > _LONGEST_LINE:
            lines, tail = [*lines, tail], b""
        self._tails[group.name] = tail
        for line in lines:
            if line.strip():
                self._tell(group.name, line.decode(errors="replace").rstrip())
        if not data:
            self._selector.unregister(group.output)
        return bool(data)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
