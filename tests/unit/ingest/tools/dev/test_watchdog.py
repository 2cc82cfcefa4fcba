from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.tools.dev import watchdog
from ingest.tools.dev.watchdog import Watchdog, end_group, group_alive, process_alive
from tests.support.waiting import wait_until

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
#: Writes a file when it is asked to end, so that an end in order can be told from a killing.
OBEDIENT = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path(sys.argv[1]).write_text("ended in order")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(600)
"""
#: A leader with a child in its group.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print("up", flush=True)
time.sleep(600)
"""


class Started:
    """Processes in groups of their own, killed at the test's end."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, code: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", "-c", code, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        return process

    def close(self) -> None:
        for process in self.processes:
            watchdog.signal_group(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def start() -> Iterator[Started]:
    started = Started()
    yield started
    started.close()


@pytest.fixture
def dog() -> Iterator[Watchdog]:
    dog = Watchdog()
    yield dog
    dog.close()


def tell(dog: Watchdog, process: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    """Do what a started command does itself."""
    os.write(dog.fd, f"+{process.pid} {grace}\n".encode())
    dog.add(process.pid, grace)


def test_a_zombie_is_not_alive(start: Started) -> None:
    process = start(DEAF)
    assert process_alive(process.pid)
    assert group_alive(process.pid)
    process.kill()
    wait_until(lambda: not process_alive(process.pid), 5.0, "a zombie that counts as dead")
    assert not group_alive(process.pid)
    assert process.wait() == -signal.SIGKILL


def test_an_obedient_group_is_asked_and_not_killed(start: Started, tmp_path: Path) -> None:
    process = start(OBEDIENT, str(tmp_path / "said"))
    end_group(process.pid, 10.0)
    assert process.wait() == 0
    assert (tmp_path / "said").read_text() == "ended in order"


def test_a_deaf_group_is_killed_after_its_grace(start: Started) -> None:
    process = start(DEAF)
    end_group(process.pid, 0.2)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("child", [OBEDIENT.replace("sys.argv[1]", "'/dev/null'"), DEAF], ids=["obedient", "deaf"])
def test_what_outlives_its_leader_is_swept_away(start: Started, monkeypatch: pytest.MonkeyPatch, child: str) -> None:
    monkeypatch.setattr(watchdog, "LEFTOVER", 0.5)
    process = start(PARENT, child)
    process.kill()
    process.wait()
    assert group_alive(process.pid)
    end_group(process.pid, 0.5)
    assert not group_alive(process.pid)


def test_the_end_of_the_pipe_ends_what_still_runs_and_removes_the_directories(
    dog: Watchdog, start: Started, tmp_path: Path
) -> None:
    first, second = start(OBEDIENT, str(tmp_path / "1")), start(OBEDIENT, str(tmp_path / "2"))
    directory = tmp_path / "scratch"
    (directory / "below").mkdir(parents=True)
    tell(dog, first)
    tell(dog, second)
    dog.remove(first.pid)
    dog.clean(directory)
    dog.close()
    assert second.wait() == 0
    assert first.poll() is None, "forgotten groups are left alone"
    assert not directory.exists()


def test_groups_are_ended_the_latest_first(dog: Watchdog, start: Started, tmp_path: Path) -> None:
    slow = OBEDIENT.replace("def end(*_):", "def end(*_):\n    time.sleep(0.3)")
    server, user = start(OBEDIENT, str(tmp_path / "server")), start(slow, str(tmp_path / "user"))
    tell(dog, server)
    tell(dog, user)
    dog.close()
    assert server.wait() == user.wait() == 0
    assert (tmp_path / "user").stat().st_mtime_ns < (tmp_path / "server").stat().st_mtime_ns


def test_a_killed_watchdog_is_started_again_and_knows_everything(dog: Watchdog, start: Started, tmp_path: Path) -> None:
    process = start(OBEDIENT, str(tmp_path / "said"))
    directory = tmp_path / "scratch"
    directory.mkdir()
    tell(dog, process)
    dog.clean(directory)
    assert not dog.ensure()
    killed = dog.pid
    os.kill(killed, signal.SIGKILL)
    wait_until(dog.ensure, 5.0, "the watchdog's restart")
    assert dog.pid != killed
    dog.close()
    assert process.wait() == 0
    assert not directory.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_watchdog_is_deaf_to_what_ends_the_others(
    dog: Watchdog, start: Started, number: signal.Signals, tmp_path: Path
) -> None:
    process = start(OBEDIENT, str(tmp_path / "said"))
    tell(dog, process)
    deaf = Path(f"/proc/{dog.pid}/status")
    if deaf.exists():
        wait_until(lambda: int(deaf.read_text().split("SigIgn:")[1].split()[0], 16) & 1 << (number - 1), 5.0, "its handlers")
    os.kill(dog.pid, number)
    assert not dog.ensure()
    dog.close()
    assert process.wait() == 0


def test_it_starts_without_any_of_our_packages() -> None:
    source = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "print([name for name in sys.modules if name.split('.')[0] in ('ingest', 'settings')])"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", source, watchdog.__file__], capture_output=True, text=True, check=True
    )
    assert said.stdout == "[]\n"
