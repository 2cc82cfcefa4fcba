"""What each fault cost: a fixture that measures, and the table at the end of the session.

Registered for all tests, not in ``tests/faults``: under xdist the one that prints never loads that folder's conftest.
``FAULTS_TABLE=path`` writes the table as Markdown too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.memory import MemorySampler
from tests.support.queue_content import Comparison, compare
from tests.support.waiting import wait_until

T = TypeVar("T")

PROPERTY = "fault"
NONE = "-"
COLUMNS = ("fault", "noticed after", "recovered after", "lost", "doubled", "peak memory")


class Fault:
    """One row of the table: name it, say when it begins and ends, wait through it for what it promises, compare."""

    def __init__(self) -> None:
        self.name = ""
        self.noticed_after: float | None = None
        self.recovered_after: float | None = None
        self.lost: int | None = None
        self.doubled: int | None = None
        self._memory: MemorySampler | None = None
        self._began: float | None = None
        self._ended: float | None = None

    def __call__(self, name: str, memory: MemorySampler | None = None) -> Fault:
        """Name the row; ``memory`` is the sampler whose peak it shows."""
        self.name = name
        self._memory = memory
        return self

    @property
    def has_begun(self) -> bool:
        return self._began is not None

    def begins(self) -> None:
        """The fault is there from now on, and the memory that it costs is counted from here (of several: from the first)."""
        if self._memory is not None and self._began is None:
            self._memory.mark()
        self._began = time.monotonic()

    def ends(self) -> None:
        """The fault is gone from now on: what recovers is measured from here."""
        self._ended = time.monotonic()

    def noticed(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        """Wait until the fault is noticed, and note how long after its beginning (of several: the longest)."""
        assert self._began is not None, "begins() first"
        found = wait_until(condition, timeout, what)
        self.noticed_after = max(self.noticed_after or 0.0, time.monotonic() - self._began)
        return found

    def recovered(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        """Wait until work goes on, and note how long after the fault's end (its beginning, where it has no end)."""
        since = self._ended if self._ended is not None else self._began
        assert since is not None, "begins() first"
        found = wait_until(condition, timeout, what)
        self.recovered_after = max(self.recovered_after or 0.0, time.monotonic() - since)
        return found

    def recovers(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        """Wait as `recovered` does; the first time, when nothing has begun yet, just wait."""
        return (self.recovered if self.has_begun else wait_until)(condition, timeout, what)

    def compared(
        self,
        delivered: Sequence[int],
        connections: Sequence[Sequence[int]],
        whole: Iterable[int] = (),
        given_up: Collection[int] = (),
    ) -> Comparison:
        """Compare number by number, note it, and fail unless of each connection a prefix came, in order, each number once.

        Of the connections ``whole`` (counted from 0) all must have come: what a prefix leaves of them is lost. ``given_up`` are
        numbers that were recorded as dropped, so they are lost, and none of them may have been delivered.
        """
        found = compare(delivered, connections)
        missing = sorted({*found.missing, *(number for index in whole for number in found.tails[index])} - set(given_up))
        self.lost, self.doubled = len(missing) + len(given_up), len(found.doubled)
        both = sorted(set(given_up) & set(delivered))
        assert not both, f"given up, and delivered all the same: {both[:10]} ({len(both)})"
        assert not found.misplaced, f"out of order: {found.misplaced[:10]}"
        assert not missing, f"missing: {missing[:10]} ({len(missing)})"
        assert not found.doubled, f"doubled: {found.doubled[:10]} ({len(found.doubled)})"
        return found

    def row(self) -> list[str]:
        """Return the cells of `COLUMNS`."""
        memory = self._memory
        peak = NONE if memory is None or memory.peak is None else f"{memory.peak:.0f} MiB (+{max(0.0, memory.grown or 0):.0f})"
        return [
            self.name,
            _seconds(self.noticed_after),
            _seconds(self.recovered_after),
            _count(self.lost),
            _count(self.doubled),
            peak,
        ]


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[Fault]:
    """The test's row; call it with the fault's name. A test that does not name it has none."""
    row = Fault()
    yield row
    if row.name:
        request.node.user_properties.append((PROPERTY, row.row()))


_rows: list[list[str]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        _rows.extend(value for name, value in report.user_properties if name == PROPERTY and isinstance(value, list))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _rows:
        return
    terminalreporter.write_sep("=", "faults")
    for line in _aligned([list(COLUMNS), *_rows]):
        terminalreporter.write_line(line)
    if path := os.environ.get("FAULTS_TABLE"):
        Path(path).write_text(as_markdown(_rows))


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return the table as Markdown."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _seconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f} s"


def _count(value: int | None) -> str:
    return NONE if value is None else str(value)
