"""A wall clock that a test sets, for a process of its own (libfaketime); its monotonic clock goes on as it does."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Where distributions put the library that is safe with threads.
PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


class FakedTime:
    """``environ`` is for the process."""

    def __init__(self, folder: Path) -> None:
        library = next((found for place in PLACES for found in Path(place).glob("**/libfaketimeMT.so.1")), None)
        if library is None:
            pytest.skip("there is no libfaketime (a package of the system)")
        self._setting = folder / "clock"
        self.set("+0")
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._setting),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        """Set the clock so much before or after ours: ``+1h``, ``-90``; at once, and whole for whoever reads it meanwhile."""
        new = self._setting.with_suffix(".new")
        new.write_text(offset)
        new.replace(self._setting)
