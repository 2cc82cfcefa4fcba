from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.tools.dev import crew as module
from ingest.tools.dev.crew import Crew, Ended
from ingest.tools.dev.watchdog import group_alive
from tests.support.leftovers import VARIABLE, kill_marked, marked, new_mark
from tests.support.waiting import wait_until

PYTHON = f"{shlex.quote(sys.executable)} -I -S -u -c"
SLEEP = "import time; print('up'); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"
#: A leader that ends when asked and leaves a child behind, as a killed Dramatiq master does.
CARELESS = """
import signal, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("up")
time.sleep(600)
"""


class Bench:
    """A crew, and what it was told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said: list[tuple[str, str]] = []
        self.hurry = threading.Event()
        self.mark = new_mark()
        self.ticks = 0
        self.crew = Crew(lambda name, text: self.said.append((name, text)), self._tick, self.hurry)

    def _tick(self) -> None:
        self.ticks += 1

    def start(self, name: str, line: str, grace: float = 10.0, **env: str) -> None:
        env = {**os.environ, VARIABLE: self.mark, **env}
        self.crew.start(name, line, grace=grace, env=env, cwd=self.directory)

    def python(self, name: str, code: str, grace: float = 10.0) -> None:
        """Start a Python program and wait until it has said that it is up."""
        self.start(name, f"{PYTHON} {shlex.quote(code)}", grace)
        assert self.crew.wait(lambda: (name, "up") in self.said, 10.0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.crew.close()
    left = marked(bench.mark)
    kill_marked(bench.mark)
    assert not left


def test_a_command_runs_in_a_session_of_its_own_with_shell_syntax_assignments_and_no_input(bench: Bench) -> None:
    alone = "os.getsid(0) == os.getpid() == os.getpgrp()"
    code = f"import os, sys; print({alone}, os.environ['A'], sys.argv[1:], repr(sys.stdin.read()))"
    bench.start("one", f"A=\"$B\" {PYTHON} {shlex.quote(code)} ${{C:-c d}} 'e f'", B="b")
    assert bench.crew.wait(lambda: bool(bench.said), 10.0)
    assert bench.said == [("one", "True b ['c', 'd', 'e f'] ''")]


def test_a_line_of_several_commands_is_the_shells(bench: Bench) -> None:
    bench.start("one", "echo first && echo second; exit 7")
    assert bench.crew.wait(lambda: bench.crew.fallen() == ["one"], 10.0)
    assert bench.crew.end("one") == Ended("one", 7, asked=False)
    assert bench.said == [("one", "first"), ("one", "second")]


def test_both_streams_are_heard_up_to_the_last_line_without_end_and_blank_lines_are_not(bench: Bench) -> None:
    bench.start("one", "echo out; echo err >&2; echo; printf 'no end'; printf ' \\377'")
    bench.crew.wait(lambda: len(bench.said) == 3, 10.0)
    assert sorted(text for _, text in bench.said) == ["err", "no end \ufffd", "out"]


def test_a_line_that_never_ends_is_cut(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_LINE", 1000)
    bench.start("one", f"{PYTHON} \"print('x' * 5000, end='', flush=True); import time; time.sleep(600)\"")
    assert bench.crew.wait(lambda: sum(len(text) for _, text in bench.said) == 5000, 10.0)
    assert bench.crew.running("one"), "cut while it runs, not when it has ended"


def test_an_orderly_end_is_clean_and_nothing_is_left(bench: Bench) -> None:
    bench.python("one", SLEEP)
    assert bench.crew.running("one")
    ended = bench.crew.end("one")
    assert ended == Ended("one", -signal.SIGTERM, asked=True)
    assert ended.clean
    assert not bench.crew.running("one")
    assert not bench.crew.started("one")


def test_one_that_is_deaf_is_killed_after_its_grace(bench: Bench) -> None:
    bench.python("one", DEAF, grace=0.3)
    ended = bench.crew.end("one")
    assert (ended.killed, ended.clean) == (True, False)
    assert "was killed" in str(ended)


def test_the_callers_limit_is_below_the_grace(bench: Bench) -> None:
    bench.python("one", DEAF, grace=600.0)
    assert bench.crew.end("one", longest=0.2).killed


def test_in_a_hurry_nobody_is_waited_for(bench: Bench) -> None:
    bench.python("one", DEAF, grace=600.0)
    bench.hurry.set()
    assert not bench.crew.wait(lambda: False, 600.0)
    assert bench.crew.end("one").killed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_leader_leaves_behind_is_swept_away(bench: Bench, number: signal.Signals) -> None:
    bench.python("one", CARELESS)
    wait_until(lambda: len(marked(bench.mark)) == 2, 10.0, "leader and child")
    [leader] = [process.pid for process in marked(bench.mark) if process.parent == os.getpid()]
    os.kill(leader, number)
    assert bench.crew.wait(lambda: bench.crew.fallen() == ["one"], 10.0)
    assert group_alive(leader), "the child lives on in the group"
    assert str(bench.crew.end("one")) == f"one ended unexpectedly (killed by {number.name})"
    assert not group_alive(leader)


def test_it_knows_its_own_processes_children_included(bench: Bench) -> None:
    bench.python("one", CARELESS)
    wait_until(lambda: len(marked(bench.mark)) == 2, 10.0, "leader and child")
    assert all(bench.crew.owns(process.pid) for process in marked(bench.mark))
    assert not bench.crew.owns(os.getpid())
    assert not bench.crew.owns(2**22 + 1)


def test_a_killed_watchdog_is_noticed_while_listening(bench: Bench) -> None:
    os.kill(bench.crew.watchdog.pid, signal.SIGKILL)
    assert bench.crew.wait(lambda: ("dev", "the watchdog was killed; started again") in bench.said, 10.0)
    assert bench.ticks > 0


def test_the_watchdog_knows_a_command_even_if_we_die_before_noting_it(tmp_path: Path) -> None:
    # A process that starts a command and dies at once, as early as it can: the command itself has told the watchdog.
    mark = new_mark()
    code = (
        "import os, pathlib, threading\n"
        "from ingest.tools.dev.crew import Crew\n"
        "crew = Crew(lambda *_: None, lambda: None, threading.Event())\n"
        "crew.start('one', 'sleep 600', grace=5, env=os.environ, cwd=pathlib.Path('/'))\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, VARIABLE: mark}, check=False, timeout=30)
    try:
        wait_until(lambda: not marked(mark), 15.0, "the end of a command whose starter has died")
    finally:
        kill_marked(mark)
