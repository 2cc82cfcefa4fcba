"""Writes a record while the feed runs: entries in order, flushed so that a process that is killed leaves all but the newest.

The rule: one lock, and a disk that refuses ends the record, not the feed's thread; who records asks `failure`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from ingest.clock import Monotonic, monotonic
from ingest.errors import RecordError
from ingest.records.format import Entry, Header, encode, encode_header
from ingest.records.stream import CompressedFile

#: Seconds that an entry may wait in memory, at most.
FLUSH_INTERVAL = 0.25


class RecordWriter:
    """A record that grows; safe to use from any thread. ``OSError`` where the file cannot be made."""

    def __init__(self, path: Path, header: Header, clock: Monotonic = monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._file = CompressedFile(path)
        self._began = clock()
        self._flushed_at = self._began
        self._closed = False
        #: Why nothing more is written; None while all is well.
        self.failure: str | None = None
        try:
            self._file.write(encode_header(header))
            self._file.flush()
        except OSError:
            self._file.close()
            raise

    @property
    def bytes_written(self) -> int:
        """The file's size so far."""
        return self._file.bytes_written

    def now_us(self) -> int:
        """Return microseconds since the record began."""
        return int((self._clock() - self._began) * 1_000_000)

    def write(self, *entries: Entry) -> None:
        """Append entries; after a `failure`, or once closed, nothing is."""
        with self._lock:
            if self._usable:
                self._try(*entries)

    def flush(self) -> bool:
        """Bring everything to the file; tell whether it is there."""
        with self._lock:
            if self._usable:
                self._flush()
            return self.failure is None

    def flush_due(self) -> None:
        """Bring to the file what has waited for `FLUSH_INTERVAL`."""
        with self._lock:
            if self._usable and self._clock() - self._flushed_at >= FLUSH_INTERVAL:
                self._flush()

    def close(self, end: Entry) -> None:
        """Write the last entry and end the file in order; a second call does nothing."""
        with self._lock:
            if self._usable:
                self._try(end)
            if self._usable:
                self._guard(self._file.finish)
            self._closed = True
            self._file.close()

    @property
    def _usable(self) -> bool:
        return self.failure is None and not self._closed

    def _try(self, *entries: Entry) -> None:
        try:
            for entry in entries:
                self._file.write(encode(entry))
        except OSError as error:
            self._fail(error)
        except RecordError as error:
            self.failure = error.detail
        if self._usable and self._clock() - self._flushed_at >= FLUSH_INTERVAL:
            self._flush()

    def _flush(self) -> None:
        self._flushed_at = self._clock()
        self._guard(self._file.flush)

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = os.strerror(error.errno) if error.errno else str(error)
