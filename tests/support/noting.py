"""Sessions that note how far they have come where a SIGKILL cannot take it back: in a shared mapping of a file.

The rule: it is copied into a supervisor's folder and imports nothing of ``tests``.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path
from typing import Any

from ingest import Emit, Session

FILE = "noted"

#: The last number that was read, and the last that was handed on.
LAYOUT = "<qq"


class Noting(Session):
    """Emits every frame as it is; its position is the number of the last that was handed on."""

    def setup(self, *_: Any, file: str = FILE, **session_args: Any) -> None:
        path = Path(file)  # of several feeds each needs its own
        if not path.exists():
            path.write_bytes(bytes(struct.calcsize(LAYOUT)))
        with path.open("r+b") as file:
            self._noted = mmap.mmap(file.fileno(), 0)
        self._number = 0

    def on_frame(self, payload: str | bytes) -> Emit:
        assert isinstance(payload, str)
        self._number = int(payload.split(" ", 1)[0])
        struct.pack_into("<q", self._noted, 0, self._number)
        return Emit(payload)

    def position(self) -> int:
        struct.pack_into("<q", self._noted, 8, self._number)
        return self._number


class Acking(Noting):
    """Every tenth number is acknowledged, which stands for all before it."""

    def on_frame(self, payload: str | bytes) -> Emit:
        emit = super().on_frame(payload)
        return Emit(*emit.payloads, ack=[str(self._number)]) if self._number % 10 == 0 else emit


class Hanging(Noting):
    """Never comes back from number 1000."""

    def on_frame(self, payload: str | bytes) -> Emit:
        emit = super().on_frame(payload)
        if self._number == 1000:
            time.sleep(3600)
        return emit
