"""Which of the user's hooks run at this moment, on whatever thread, and since when.

The rule: noting costs a hook two dictionary entries and no lock; whoever looks may be late by one call, never wrong by a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import NamedTuple, ParamSpec, TypeVar

from ingest.clock import Monotonic

P = ParamSpec("P")
T = TypeVar("T")


class Call(NamedTuple):
    """A call of the user's code: its name, and when it began (monotonic seconds)."""

    where: str
    since: float


#: Makes a call of a pair: for what is called with every frame, because the constructor takes three times as long.
call_of: Callable[[tuple[str, float]], Call] = partial(tuple.__new__, Call)


class HookCalls:
    """The hooks of one feed that take part in its delivery: middleware and encoder."""

    def __init__(self, clock: Monotonic) -> None:
        self._clock = clock
        self._by_thread: dict[int, Call] = {}

    def noted(self, where: str, hook: Callable[P, T]) -> Callable[P, T]:
        """Return ``hook`` so that others can see it hang."""
        by_thread, clock = self._by_thread, self._clock

        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            thread = get_ident()
            by_thread[thread] = Call(where, clock())
            try:
                return hook(*args, **kwargs)
            finally:
                by_thread.pop(thread, None)

        return run

    def running(self) -> list[Call]:
        """Return what runs now, the oldest first."""
        return sorted(self._by_thread.copy().values(), key=lambda call: call.since)

    def on(self, thread: int | None) -> Call | None:
        """Return what runs on a thread."""
        return self._by_thread.get(thread) if thread is not None else None
