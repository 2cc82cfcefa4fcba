"""Takes Ctrl-C for this process alone while make waits for it.

The rule: only where make has started us and its process group has the terminal. A Ctrl-C reaches the whole foreground group: make
would die of it and report a failure, although the run has ended in order and with code 0.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def foreground(*, under_make: bool) -> Iterator[None]:
    """Be a process group of our own in the terminal's foreground, and give that back to make's group at the end."""
    terminal = _controlling_terminal() if under_make else None
    if terminal is None:
        yield
        return
    makes = os.getpgrp()
    # Changing the foreground from the background would stop us; and a stopped run could not be continued: the shell
    # continues make's group. So Ctrl-Z does nothing.
    for number in (signal.SIGTTOU, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(terminal, os.getpgrp())
    try:
        yield
    finally:
        _give_back(terminal, makes)


def _controlling_terminal() -> int | None:
    """Return standard input if it is a terminal whose foreground is our group, which we do not lead."""
    try:
        terminal = sys.stdin.fileno()
        ours = os.tcgetpgrp(terminal) == os.getpgrp() != os.getpid()
    except (OSError, ValueError, AttributeError):  # no terminal, a closed stream, none at all
        return None
    return terminal if ours else None


def _give_back(terminal: int, makes: int) -> None:
    try:
        if os.tcgetpgrp(terminal) == os.getpgrp():  # else the shell has taken it, since make is gone
            os.tcsetpgrp(terminal, makes)
    except OSError:
        return  # the terminal is gone, or make's group is
