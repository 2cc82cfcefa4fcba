"""A whole run with stand-ins for supervisor and workers (tests/support/dev_driver.py): its order, its end, its verdict."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import VARIABLE, Process, kill_marked, marked, new_mark
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


class Driven:
    """A run as a process of its own; its output goes to a file, so that no pipe ties it to the test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "output"
        self.mark = new_mark()

    def start(self, seconds: float | None = None, **modes: str) -> None:
        command = [sys.executable, "-m", "tests.support.dev_driver", str(self._directory)]
        command += [str(seconds)] if seconds else []
        env = {**os.environ, VARIABLE: self.mark, **modes}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)

    @property
    def said(self) -> list[str]:
        return self._log.read_text().splitlines()

    def until_up(self) -> None:
        wait_until(lambda: {"ingest   | ingest is up", "worker   | worker is up"} <= set(self.said), 60.0, "a run")

    def end(self, timeout: float = 60.0) -> int:
        """Wait for the end, after which nothing must be left; return the exit code."""
        code = self.process.wait(timeout)
        assert marked(self.mark) == []
        return code

    def find(self, text: str) -> Process:
        """Return the process whose command line contains `text`, the eldest of them."""
        return min((process for process in marked(self.mark) if text in process.command), key=lambda process: process.pid)

    def directory(self) -> Path:
        """Return the server's temporary directory."""
        return Path(self.find("valkey-server").command.split("--dir ")[1].split()[0])

    def close(self) -> None:
        """End what a failed test has left."""
        kill_marked(self.mark)
        if hasattr(self, "process"):
            self.process.wait()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Driven]:
    driven = Driven(tmp_path)
    yield driven
    driven.close()


def numbers(last: str) -> dict[str, int]:
    return {name: int(value) for name, value in (part.split("=") for part in last.split())}


def test_a_run_ends_by_itself_and_its_last_line_says_what_it_did(run: Driven) -> None:
    run.start(seconds=3)
    assert run.end() == 0
    last = numbers(run.said[-1])
    assert list(last) == ["frames", "enqueued", "processed", "dropped", "reconnects"]
    assert last["frames"] == last["enqueued"] == last["processed"] > 0
    assert last["dropped"] == last["reconnects"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_drains_everything_in_order(run: Driven, number: signal.Signals) -> None:
    run.start()
    run.until_up()
    run.process.send_signal(number)
    assert run.end() == 0
    said = run.said
    assert said.index("ingest   | ingest drained") < said.index("worker   | worker stopped")
    last = numbers(said[-1])
    assert last["enqueued"] == last["processed"]


def test_a_second_interrupt_waits_for_nobody(run: Driven) -> None:
    run.start(FAKE_INGEST="deaf", FAKE_WORKER="deaf")
    run.until_up()
    run.process.send_signal(signal.SIGINT)
    wait_until(lambda: any("stopping in order" in line for line in run.said), 30.0, "the first one to be heard")
    run.process.send_signal(signal.SIGINT)
    assert run.end(timeout=25.0) == 1, "less than a deaf worker's own grace"
    verdict, *besides = [line for line in run.said if line.startswith("dev: ")]
    assert verdict == "dev: ended at once, as asked: what was under way is lost"
    assert all(line.endswith("messages: still waiting in the queue") for line in besides)


def test_one_that_does_not_end_when_asked_is_killed_and_named(run: Driven) -> None:
    run.start(seconds=2, FAKE_INGEST="deaf")
    assert run.end() == 1
    assert "dev: ingest did not end when asked and was killed" in run.said


@pytest.mark.parametrize(("who", "other"), [("INGEST", "worker stopped"), ("WORKER", "ingest drained")])
def test_one_that_ends_unasked_is_named_and_the_others_end_in_order(run: Driven, who: str, other: str) -> None:
    run.start(**{f"FAKE_{who}": "crash"})
    assert run.end() == 1
    assert f"dev: {who.lower()} ended unexpectedly (exit code 3)" in run.said
    assert any(line.endswith(other) for line in run.said)


def test_messages_that_vanish_are_noticed(run: Driven) -> None:
    run.start(seconds=3, FAKE_INGEST="lose")
    assert run.end() == 1
    assert any("frames were enqueued, and are neither processed nor in the queue" in line for line in run.said)


def test_a_run_that_processed_nothing_was_no_good_one(run: Driven) -> None:
    run.start(seconds=2, FAKE_WORKER="idle")
    assert run.end() == 1
    assert "dev: nothing was processed" in run.said
    assert any(line.endswith("messages: still waiting in the queue") for line in run.said)


@pytest.mark.parametrize(("fault", "why"), [("taken", "Address already in use"), ("homeless", "No such file or directory")])
def test_a_server_that_does_not_start_is_the_only_thing_started_and_says_why(run: Driven, fault: str, why: str) -> None:
    run.start(FAKE_SERVER=fault)
    assert run.end() == 1
    assert any(line.startswith("dev: server did not start") for line in run.said)
    assert any(why in line for line in run.said)
    assert not any("is up" in line for line in run.said)


def test_without_a_server_nobody_is_given_time_to_drain(run: Driven) -> None:
    run.start()
    run.until_up()
    os.kill(run.find("valkey-server").pid, signal.SIGKILL)
    assert run.end(timeout=30.0) == 1, "less than a worker's grace"
    assert "dev: server ended unexpectedly (killed by SIGKILL)" in run.said


def test_a_killed_watchdog_is_replaced_and_the_run_goes_on(run: Driven) -> None:
    run.start()
    run.until_up()
    os.kill(run.find("watchdog.py").pid, signal.SIGKILL)
    wait_until(lambda: any("the watchdog was killed; started again" in line for line in run.said), 30.0, "another one")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0


def test_after_the_end_of_dev_itself_the_watchdog_drains_and_cleans_up(run: Driven) -> None:
    run.start()
    run.until_up()
    directory = run.directory()
    assert directory.is_dir()
    run.process.kill()
    run.process.wait()
    wait_until(lambda: not marked(run.mark), 60.0, "the end of everything")
    assert not directory.exists()


def test_a_reader_that_has_gone_away_ends_the_run_in_order(run: Driven, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "tests.support.dev_driver", str(tmp_path)]
    run.process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, VARIABLE: run.mark}, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    said = b""
    while not all(text in said for text in (b"ingest is up", b"worker is up")):  # before that, they could not end in order
        more = os.read(reading, 4096)
        assert more, said
        said += more
    os.close(reading)
    _, errors = run.process.communicate(timeout=60)
    assert (run.process.returncode, errors) == (0, b"")
    assert marked(run.mark) == []
