"""The connections that the lines of one broker share: lent to one line at a time, in the order in which lines asked.

The rule: a connection comes back only from a line that is owed no reply, so the next one finds nothing of another's in it; one
that is closed takes those that lie idle with it, because what was wrong with it was most likely the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any, Protocol

from ingest.clock import Monotonic, monotonic

#: Seconds that a line keeps a connection for which others wait, while it has more to send.
TURN = 0.01


class Connection(Protocol):
    """The part of redis-py's connection that is used; connecting one that stands does nothing."""

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def send_packed_command(self, command: list[bytes], check_health: bool = ...) -> None: ...
    def can_read(self, timeout: float = ...) -> bool: ...
    def read_response(self) -> Any: ...


class Borrower:
    """What one line has of the lender: at most one connection. Only its own line's thread calls it."""

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self.connection: Connection | None = None
        self.wake: Callable[[], object] = lambda: None
        self.since: float | None = None  # when the line found the connection there; it may have been busy, or waited for the CPU

    def ask(self, wake: Callable[[], object]) -> bool:
        """Tell whether a connection is there; if others are first, ``wake`` is called once it is."""
        return self._lender.lend(self, wake)

    @property
    def overstays(self) -> bool:
        """Whether others wait for the connection, and this line has had its turn."""
        return self._lender.is_overdue(self)

    def give_back(self) -> None:
        """Hand the connection back, good as it is; one asked for and not there is no more asked for."""
        self._lender.take_back(self, good=True)

    def close(self) -> None:
        """The same, but close it: nobody may use it any more."""
        self._lender.take_back(self, good=False)


class Lender:
    """At most ``most`` connections, which ``connect`` makes, not yet connected."""

    def __init__(self, connect: Callable[[], Connection], most: int, clock: Monotonic = monotonic) -> None:
        self._connect = connect
        self._most = most
        self._clock = clock
        self._lock = Lock()
        self._lent = 0
        self._idle: list[Connection] = []
        self._waiting: deque[Borrower] = deque()

    def borrower(self) -> Borrower:
        return Borrower(self)

    def lend(self, borrower: Borrower, wake: Callable[[], object]) -> bool:
        with self._lock:
            if borrower.connection is None and borrower not in self._waiting:
                borrower.wake = wake
                self._waiting.append(borrower)
            woken = self._hand_out()
            is_there = borrower.connection is not None
            if is_there and borrower.since is None:
                borrower.since = self._clock()
        self._wake(woken, but=borrower)
        return is_there

    def is_overdue(self, borrower: Borrower) -> bool:
        return bool(self._waiting) and borrower.since is not None and self._clock() - borrower.since > TURN

    def take_back(self, borrower: Borrower, *, good: bool) -> None:
        closed: list[Connection] = []
        with self._lock:
            connection, borrower.connection, borrower.since = borrower.connection, None, None
            if borrower in self._waiting:
                self._waiting.remove(borrower)
            if connection is None:
                return
            self._lent -= 1
            if good:
                self._idle.append(connection)
            else:
                closed, self._idle = [connection, *self._idle], []
            woken = self._hand_out()
        try:
            for each in closed:
                each.disconnect()
        finally:  # who was handed a connection must hear of it, whatever becomes of another
            self._wake(woken, but=borrower)

    def close(self) -> None:
        """Close what lies idle."""
        with self._lock:
            closed, self._idle = self._idle, []
        for each in closed:
            each.disconnect()

    def _hand_out(self) -> list[Borrower]:
        served: list[Borrower] = []
        while self._waiting and self._lent < self._most:
            connection = self._idle.pop() if self._idle else self._connect()
            borrower = self._waiting.popleft()
            borrower.connection = connection
            self._lent += 1
            served.append(borrower)
        return served

    @staticmethod
    def _wake(served: list[Borrower], *, but: Borrower) -> None:
        for borrower in served:
            if borrower is not but:
                borrower.wake()
