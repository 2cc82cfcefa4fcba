"""`make run`, the real one: it works, ends in order, and leaves nothing running whatever is killed."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.broker.status import read_statuses
from tests.support.leftovers import kill_marked, marked, new_mark
from tests.support.made import ROOT, MakeRun, environment, make_command
from tests.support.redis_server import Valkey
from tests.support.terminals import Terminal
from tests.support.waiting import wait_until

Make = Callable[..., MakeRun]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    runs: list[MakeRun] = []

    def start(*variables: str, **environ: str) -> MakeRun:
        runs.append(MakeRun(tmp_path / f"output-{len(runs)}", *variables, **environ))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


def seconds_that_suffice(make: Make) -> str:
    """Return for how long two runs that are started at once must go on to get something done, as busy as the machine is."""
    began = time.monotonic()
    trial = make()
    trial.until_it_flows()
    took = time.monotonic() - began
    trial.close()
    return f"SECONDS={5 + 2 * took:.0f}"


@pytest.mark.timeout(300)
def test_two_at_once_end_by_themselves_and_lose_nothing_whatever_redis_is_exported(make: Make) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    seconds = seconds_that_suffice(make)
    runs = [make(seconds, REDIS_URL=nowhere), make(seconds, "ARGS=--faults --rate 400 --tcp", REDIS_URL=nowhere)]
    for run in runs:
        assert run.process.wait(100) == 0, run.said
        assert marked(run.mark) == []
        numbers = run.numbers()
        assert run.said[-1].startswith("frames=")
        assert numbers["frames"] >= numbers["enqueued"] == numbers["processed"] + run.left_over()
        assert numbers["processed"] > 0
        assert numbers["dropped"] == 0
        assert any("dev      | ready=" in line for line in run.said), "numbers every few seconds"


def test_ones_own_feeds_go_to_ones_own_server(make: Make, tmp_path: Path, valkey: Valkey) -> None:
    simulator = make()
    wait_until(lambda: any("listening on" in line for line in simulator.said), 60.0, "somebody's exchange")
    [url] = [line.split()[-1] for line in simulator.said if "listening on" in line]
    own = tmp_path / "my feeds.toml"
    demo = (ROOT / "examples/demo/feeds.toml").read_text()
    own.write_text('[broker]\nnamespace = "mine"\n\n' + demo.replace("${SIMULATOR_URL}", url))
    run = make(f"FEEDS={own}", REDIS_URL=valkey.url)
    client = valkey.client()
    told = {"supervisor": "enqueued", "worker": "processed"}

    def done() -> set[str]:
        statuses = read_statuses(client, "mine")
        return {s["kind"] for s in statuses if any(feed[told[s["kind"]]] > 0 for feed in s["feeds"].values())}

    wait_until(lambda: done() == {"supervisor", "worker"}, 60.0, "something that is processed on one's own server")
    run.stop()
    assert run.process.wait(60) == 0, run.said
    assert run.numbers()["processed"] > 0
    assert not any("simulator|" in line for line in run.said)


def test_a_file_that_is_wrong_starts_nothing(make: Make, tmp_path: Path) -> None:
    own = tmp_path / "wrong.toml"
    own.write_text('[feeds.mine]\nurl = "http://example.com/"\n')
    run = make(f"FEEDS={own}")
    assert run.process.wait(60) == 2
    said = "\n".join(run.said)
    assert "feeds.mine.url" in said
    assert "feeds.mine.actor: is required" in said
    assert "Traceback" not in said
    assert "Error 2" in said, "make repeats our exit code"


def test_actors_that_cannot_be_imported_are_told_before_anything_is_started(make: Make, tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    feed = '[feeds.mine]\nurl = "ws://127.0.0.1:1/"\nactor = "handle"\n'
    own.write_text(feed + 'session = "nowhere.sessions:Mine"\n[workers]\nactors = ["nowhere.actors", "json"]\n')
    run = make(f"FEEDS={own}", "SECONDS=60")
    assert run.process.wait(60) == 2
    said = "\n".join(run.said)
    assert "2 problems with the settings" in said
    assert "feeds.mine.session: there is no module 'nowhere'" in said
    assert "workers.actors[0]: there is no module 'nowhere'" in said
    assert not any(part in said for part in ("server", "worker   |", "ingest   |", "frames=", "Traceback"))
    assert "Error 2" in said
    assert marked(run.mark) == []


@pytest.mark.parametrize("name", ["server", "simulator", "ingest", "worker", "worker's child"])
def test_the_killing_of_a_part_ends_the_others_in_order_and_is_said(make: Make, name: str) -> None:
    run = make()
    run.until_it_flows()
    directory = run.directory()
    part = run.parts()[name.partition("'")[0]]
    if name == "worker's child":
        [part] = [child for child in run.children_of(part) if "dramatiq workers" in child.command]
    os.kill(part.pid, signal.SIGKILL)
    assert run.process.wait(60) == 2
    assert marked(run.mark) == []
    assert not directory.exists()
    how = "exit code" if "child" in name else "killed by SIGKILL"
    assert any(line.startswith(f"dev: {name.partition(chr(39))[0]} ended unexpectedly ({how}") for line in run.said)
    assert any(line.endswith("Error 1") for line in run.said)


@pytest.mark.parametrize("name", ["make", "dev"])
def test_the_killing_of_who_started_them_ends_all(make: Make, name: str) -> None:
    run = make()
    run.until_it_flows()
    directory = run.directory()
    os.kill(run.parts()[name].pid, signal.SIGKILL)
    run.process.wait(60)
    run.until_nothing_is_left()
    assert not directory.exists()
    if name == "make":
        numbers = run.numbers()
        assert numbers["enqueued"] == numbers["processed"] + run.left_over(), "dev noticed, and ended in order"


def test_the_killing_of_the_watchdog_changes_nothing(make: Make) -> None:
    run = make()
    run.until_it_flows()
    parts = run.parts()
    os.kill(parts["watchdog"].pid, signal.SIGKILL)
    wait_until(lambda: any("the watchdog was killed; started again" in line for line in run.said), 30.0, "another watchdog")
    assert run.parts()["watchdog"].pid != parts["watchdog"].pid
    os.kill(parts["dev"].pid, signal.SIGKILL)
    run.process.wait(60)
    run.until_nothing_is_left()


@pytest.fixture
def mark() -> Iterator[str]:
    mark = new_mark()
    yield mark
    kill_marked(mark)


@pytest.fixture
def terminal(mark: str) -> Iterator[Terminal]:
    """Return the terminal of a shell that runs `make run` and then reads a line."""
    script = f'{shlex.join(make_command())}; code=$?; read line; echo "code=$code line=$line"; read end'
    terminal = Terminal(["sh", "-c", script], ROOT, environment(mark, TERM="xterm", COLUMNS="100", LINES="40"))
    yield terminal
    kill_marked(mark)
    terminal.close()


def test_on_a_terminal_there_is_a_table_and_ctrl_c_ends_it_with_code_0(terminal: Terminal, mark: str) -> None:
    terminal.until("Worker process is ready for action.", 60.0)  # before that it could not say its last numbers
    terminal.until("READY", 60.0)
    terminal.type("\x1a")  # Ctrl-Z: a run that is stopped could not be continued, so nothing happens
    terminal.type("\x03")
    terminal.until("frames=", 60.0)
    terminal.type("hello\n")
    terminal.until("line=hello", 30.0)
    assert "code=0 line=hello" in terminal.shown
    assert "processed" in terminal.shown
    assert "dropped=0" in terminal.shown
    assert [process.pid for process in marked(mark)] == [terminal.process.pid], "nothing but the shell"
