"""The numbered stream in a process of its own, which can be stopped (SIGSTOP), killed and started again on its port.

The rule: what it sent is in a journal, written before it is sent, so it is known after a SIGKILL too. A restart goes on counting.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.numbered import NumberedStream, numbered_server
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]

#: The line of the journal that says that the server listens, before the port.
LISTENS = "listens"


class NumberedProcess:
    """Use as a context manager; ``prefix`` is a command to run it under."""

    def __init__(self, folder: Path, rate: float, *, host: str = "127.0.0.1", prefix: Sequence[str] = ()) -> None:
        self._journal = folder / "journal.txt"
        self._journal.touch()
        self._command = [*prefix, sys.executable, "-m", "tests.support.numbered_process", str(self._journal), str(rate), host]
        self._process: subprocess.Popen[bytes] | None = None
        self.host = host
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}/"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def connections(self) -> list[list[int]]:
        """What was sent on each connection, over all runs."""
        sent: dict[str, list[int]] = {}
        for run, connection, first, last in self._blocks():
            sent.setdefault(f"{run} {connection}", []).extend(range(first, last + 1))
        return list(sent.values())

    @property
    def last(self) -> int:
        """The highest number so far."""
        return max((last for *_, last in self._blocks()), default=0)

    def start(self) -> None:
        starts = self._starts()
        self._process = subprocess.Popen([*self._command, str(self.port)], cwd=ROOT)
        wait_until(lambda: self._starts() > starts, 60, "a server that listens")
        self.port = int(next(line for line in self._lines() if line.startswith(LISTENS)).split()[1])

    def kill(self) -> None:
        """SIGKILL: the system ends its connections."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: it says goodbye (1001), and everything that it sent arrives."""
        assert self._end(signal.SIGTERM) == 0

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP: the system still accepts connections and what comes on them, nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> NumberedProcess:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process is not None:
            self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)
        code = self._process.wait(60)
        self._process = None
        return code

    def _lines(self) -> list[str]:
        return self._journal.read_text().splitlines()

    def _starts(self) -> int:
        return sum(line.startswith(LISTENS) for line in self._lines())

    def _blocks(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield ``(run, connection, first, last)`` of every block."""
        run = 0
        for line in self._lines():
            if line.startswith(LISTENS):
                run += 1
            else:
                connection, first, last = map(int, line.split())
                yield run, connection, first, last


class _Journal:
    """Appends a line in one write, so that a SIGKILL leaves whole lines."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        blocks = [line.split() for line in path.read_text().splitlines() if not line.startswith(LISTENS)]
        self.last = max((int(block[2]) for block in blocks), default=0)

    def write(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("journal", type=Path)
    parser.add_argument("rate", type=float)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    asked = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # here and in every thread: only sigwait takes it
    journal = _Journal(asked.journal)
    stream = NumberedStream(asked.rate, first=journal.last + 1, note=lambda *block: journal.write("{} {} {}".format(*block)))
    with numbered_server(stream, host=asked.host, port=asked.port) as server:
        journal.write(f"{LISTENS} {server.port}")
        signal.sigwait([signal.SIGTERM])


if __name__ == "__main__":
    main()
