"""The terminal's foreground; a whole `make run` on a terminal is in tests/acceptance."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ingest.tools.dev.terminal import foreground
from tests.support.made import ROOT
from tests.support.terminals import Terminal

#: What make is: it starts the run in its own group, and waits. It says who has the terminal before, meanwhile and after.
MAKE = """
import os, signal, subprocess, sys
run = '''
import os, signal, sys
from ingest.tools.dev.terminal import foreground
print("before", os.tcgetpgrp(0) == os.getppid())
with foreground(under_make=sys.argv[1] == "True"):
    print("alone", os.tcgetpgrp(0) == os.getpgrp() == os.getpid())
    os.kill(os.getpid(), signal.SIGTSTP) if sys.argv[1] == "True" else None
'''
code = subprocess.run([sys.executable, "-c", run, sys.argv[1]]).returncode
print("code", code)
print("after", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
print("done", flush=True)
sys.stdin.read()
"""


def on_a_terminal(*words: str) -> list[str]:
    """Run `MAKE` as the leader of a terminal's session; return what it said."""
    terminal = Terminal([sys.executable, "-c", MAKE, *words], ROOT, os.environ)
    try:
        terminal.until("done", 30.0)
    finally:
        terminal.close()
    return terminal.shown.splitlines()


def test_under_make_the_run_has_the_terminal_for_itself_and_gives_it_back() -> None:
    assert on_a_terminal("True") == ["before True", "alone True", "code 0", "after True", "done"]


def test_without_make_the_terminal_stays_as_it_is() -> None:
    assert on_a_terminal("False") == ["before True", "alone False", "code 0", "after True", "done"]


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, subprocess.PIPE])
def test_without_a_terminal_nothing_happens(stdin: int) -> None:
    code = (
        "import os; from ingest.tools.dev.terminal import foreground\n"
        "before = os.getpgrp()\n"
        "with foreground(under_make=True): print(os.getpgrp() == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdin=stdin, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_closed_input_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    before = os.getpgrp()
    with foreground(under_make=True):
        assert os.getpgrp() == before
