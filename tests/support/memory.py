"""How much memory another process holds, sampled until it ends."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

MIB = 1024.0


class MemorySampler:
    """Samples a process's resident memory; use as a context manager. All numbers are MiB; None where the system has no /proc.

    The peak is the system's own (``VmHWM``), so it holds what came and went between two samples too.
    """

    def __init__(self, pid: int, interval: float = 0.05) -> None:
        self._path = Path(f"/proc/{pid}")
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"memory-{pid}", daemon=True)
        #: What it held when the sampling began, or at the latest `mark`.
        self.base: float | None = None
        #: The most it held since.
        self.peak: float | None = None

    @property
    def grown(self) -> float | None:
        return None if self.base is None or self.peak is None else self.peak - self.base

    def mark(self) -> None:
        """Begin anew: what it holds now is the base, and the peak so far is forgotten."""
        try:
            (self._path / "clear_refs").write_text("5")  # resets VmHWM
        except OSError:
            return
        self.base = self._read("VmRSS")
        self.peak = self.base

    def now(self) -> float | None:
        """Return what it holds now."""
        return self._read("VmRSS")

    def __enter__(self) -> MemorySampler:
        self.mark()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            peak = self._read("VmHWM")
            if peak is not None:
                self.peak = peak

    def _read(self, name: str) -> float | None:
        try:
            status = (self._path / "status").read_text()
        except OSError:
            return None  # it has ended
        found = [line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:")]
        return int(found[0]) / MIB if found else None
