"""Output that nobody takes, as a process meets it: the exit code and what is said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.command_line import ROOT

SAYS = """
import sys
from ingest.service.streams import flushed_at_end
with flushed_at_end():
    {body}
"""

FULL = "the output cannot be written: No space left on device\n"


def run(body: str, stdout: int, stderr: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SAYS.format(body=body)]
    return subprocess.run(command, cwd=ROOT, stdout=stdout, stderr=stderr, text=True, timeout=60, check=False)


@pytest.fixture
def full() -> Iterator[int]:
    """A device that is full, for a process to write to."""
    with open("/dev/full", "wb") as device:
        yield device.fileno()


@pytest.mark.parametrize("body", ["print('little')", "print('little'); sys.exit(0)", "print('much' * 100_000)"])
def test_a_full_disk_is_a_sentence_and_exit_code_1(full: int, body: str) -> None:
    done = run(body, full)
    assert (done.returncode, done.stderr) == (1, FULL)


def test_where_nobody_reads_any_more_nothing_is_said() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run("print('little')", writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_log_that_cannot_be_written_leaves_the_exit_code_alone(full: int, code: int) -> None:
    body = f"import logging; logging.basicConfig(); logging.error('told'); sys.exit({code})"
    assert run(body, subprocess.DEVNULL, full).returncode == code


def test_both_on_a_full_disk(full: int) -> None:
    assert run("print('little')", full, full).returncode == 1


def test_what_is_no_trouble_of_the_output_is_not_hidden() -> None:
    done = run("print('said'); raise PermissionError(13, 'no')", subprocess.PIPE)
    assert (done.returncode, done.stdout) == (1, "said\n")
    assert "PermissionError" in done.stderr
