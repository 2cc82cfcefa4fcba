"""The feeds that a supervisor runs at this moment.

The rule: whoever goes through it sees the feeds as they were when it began; the main thread alone changes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from ingest.service.runner import FeedRunner
from ingest.telemetry.summary import FeedNumbers


class Roster(Sequence[FeedRunner]):
    """The runners, in the order of the settings file as far as they came with it; and what those that left had done."""

    def __init__(self, runners: Iterable[FeedRunner] = ()) -> None:
        self._runners = tuple(runners)
        self._left: list[FeedNumbers] = []
        self._spooled = 0

    def __iter__(self) -> Iterator[FeedRunner]:
        return iter(self._runners)

    def __len__(self) -> int:
        return len(self._runners)

    @overload
    def __getitem__(self, at: int) -> FeedRunner: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[FeedRunner]: ...
    def __getitem__(self, at: int | slice) -> FeedRunner | Sequence[FeedRunner]:
        return self._runners[at]

    def named(self, name: str) -> FeedRunner:
        """Return the runner of a feed; KeyError."""
        for runner in self._runners:
            if runner.settings.name == name:
                return runner
        raise KeyError(name)

    def add(self, runner: FeedRunner) -> None:
        """Take in one more feed."""
        self._runners = (*self._runners, runner)

    def remove(self, runner: FeedRunner) -> None:
        """Forget a feed that has ended, but for its numbers."""
        self._runners = tuple(each for each in self._runners if each is not runner)
        self._left.append(runner.numbers())
        self._spooled += runner.spooled

    def totals(self) -> dict[str, int]:
        """Return what became of all that was read since the process started."""
        numbers = [*self._left, *(runner.numbers() for runner in self)]
        return {
            "read": sum(each.frames for each in numbers),
            "emitted": sum(each.emitted for each in numbers),
            "enqueued": sum(each.enqueued for each in numbers),
            "spooled": self._spooled + sum(runner.spooled for runner in self),
            "dropped": sum(each.dropped for each in numbers),
            "lost": sum(each.lost for each in numbers),
        }
