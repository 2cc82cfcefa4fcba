"""The tutorial's steps, carried out: its files, its commands, its exchange; and what it says will happen does."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.markdown import ROOT, write_files
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until

EXCHANGE = "ws://127.0.0.1:8765/v2"


def environment(directory: Path, **more: str) -> dict[str, str]:
    """Return the environment of someone who works in the root of the checkout, here in a directory like it."""
    return {"PYTHONPATH": f"{directory}:{ROOT}", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **more}


def run(directory: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python as the tutorial does; both streams come as one."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=environment(directory, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )


def run_until(directory: Path, enough: Callable[[str], object], *arguments: str) -> str:
    """Run Python as the tutorial does until it has said enough, then end it as Ctrl-C does; return all that it said."""
    log = directory / "said"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=directory,
            env=environment(directory),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: enough(log.read_text()) or process.poll() is not None, 60, "what it should say")
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    said = log.read_text()
    assert code == 0, said
    assert enough(said), said
    return said


@pytest.fixture
def exchange() -> Iterator[str]:
    """The simulated exchange on a port of its own; its URL."""
    command = [sys.executable, "-m", "ingest", "simulate", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(ROOT), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            listening = re.search(r"ws://\S+", said)
            assert listening is not None, said
            yield listening.group()
        finally:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture
def project(tmp_path: Path, exchange: str) -> Path:
    """A directory with what the reader has written by the end, and our Procfile, as in the checkout."""
    for path in write_files(ROOT / "docs" / "tutorial.md", tmp_path):
        path.write_text(path.read_text(encoding="utf-8").replace(EXCHANGE, exchange), encoding="utf-8")
    shutil.copy(ROOT / "Procfile", tmp_path)
    return tmp_path


def processed(output: str) -> int:
    """Return the number of the run's last line."""
    found = re.search(r"processed=(\d+)", output.splitlines()[-1])
    assert found is not None, output
    return int(found[1])


def test_the_first_feed_brings_everything_that_the_server_sends(project: Path) -> None:
    assert run(project, "-m", "ingest", "check", "--feeds", "first.toml").returncode == 0
    words = ('"channel":"status"', '"method":"subscribe"', '"channel":"trade"')
    output = run_until(project, lambda said: all(word in said for word in words), "-m", "ingest", "dev", "--feeds", "first.toml")
    assert processed(output) > 0


def test_check_finds_the_mistyped_queue(project: Path) -> None:
    file = project / "first.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('queue = "first"', 'queue = "frist"'), encoding="utf-8")
    done = run(project, "-m", "ingest", "check", "--feeds", "first.toml")
    assert done.returncode == 2
    assert "feeds.trades.queue" in done.stdout
    assert "'first'" in done.stdout


def test_the_session_brings_trades_only(project: Path) -> None:
    assert run(project, "-m", "ingest", "check", "--feeds", "feeds.toml").returncode == 0
    trade = re.compile(r"1 (BTC|ETH)/USD (buy |sell) [\d.e-]+ at [\d.]+")
    output = run_until(project, lambda said: trade.search(said), "-m", "ingest", "dev", "--feeds", "feeds.toml")
    assert processed(output) > 0
    assert "heartbeat" not in output


def test_its_tests_pass(project: Path) -> None:
    done = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests_of_mine")
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_a_refused_symbol_fails_the_feed_with_the_words_of_the_exchange(project: Path, valkey: Valkey) -> None:
    file = project / "feeds.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('"ETH/USD"', '"XXX/USD"'), encoding="utf-8")
    done = run(project, "-m", "ingest", "run", REDIS_URL=valkey.url)
    assert done.returncode == 1, done.stdout
    assert "feed_gave_up" in done.stdout
    assert "Currency pair not supported XXX/USD" in done.stdout
