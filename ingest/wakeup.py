"""A file descriptor that other threads make readable to wake a thread from its wait on descriptors.

The rule: `Wakeup.set` never blocks and may come at any time, also after `Wakeup.close`.
"""

from __future__ import annotations

import select
import socket
import threading


class Wakeup:
    """Set from any thread (not from a signal handler), waited for and cleared by one."""

    __slots__ = ("_is_set", "_lock", "_reader", "_writer")

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # At most one byte is ever under way, so the pair can neither fill nor need a loop to empty. The lock also keeps
        # `set` from writing to a descriptor that `close` has just given back to the system.
        self._lock = threading.Lock()
        self._is_set = False

    def fileno(self) -> int:
        """Return the descriptor that polls readable while set."""
        return self._reader.fileno()

    def set(self) -> None:
        """Wake the waiting thread, now or at its next wait."""
        with self._lock:
            if not self._is_set and self._writer.fileno() >= 0:
                self._is_set = True
                self._writer.send(b"\0")

    def wait(self, timeout: float | None) -> bool:
        """Wait until set, at most ``timeout`` seconds, and clear; tell whether it was set."""
        poller = select.poll()
        poller.register(self._reader.fileno(), select.POLLIN)
        woken = bool(poller.poll(None if timeout is None else timeout * 1000))
        if woken:
            self.clear()
        return woken

    def clear(self) -> None:
        """Forget that it was set."""
        with self._lock:
            if self._is_set and self._reader.fileno() >= 0:
                self._is_set = False
                self._reader.recv(1)

    def close(self) -> None:
        """Free both descriptors; `set` and `clear` do nothing from now on."""
        with self._lock:
            self._reader.close()
            self._writer.close()
