"""Reads a record, entry by entry, in bounded memory; and says at the end whether that was all of it.

The rule: everything whole is given before anything is said of what is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from ingest.errors import NotARecord, RecordDamaged, RecordError
from ingest.records.format import Decoder, Entry, Header
from ingest.records.stream import DecompressedFile


class RecordReader:
    """An open record; iterate once.

    Opening it reads the header: ``OSError``, `NotARecord`, `RecordTooNew`, or `RecordDamaged` where there is none.

    Attributes:
      problem: after the last entry, what is wrong with the rest: None for a record that was ended in order.
    """

    def __init__(self, path: Path) -> None:
        self.problem: str | None = None
        self._file = DecompressedFile(path)
        self._decoder = Decoder()
        self._pieces = iter(self._file)
        self._first: list[Entry] = []
        try:
            self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    @property
    def position(self) -> int:
        """Bytes of the file that have been read."""
        return self._file.position

    def __iter__(self) -> Iterator[Entry]:
        yield from self._first
        self._first = []
        if self.problem is not None:  # found along with the header
            return
        try:
            for piece in self._pieces:
                yield from self._decoder.feed(piece)
        except RecordDamaged as damaged:
            yield from cast("tuple[Entry, ...]", damaged.before)
            self.problem = str(damaged)
        except RecordError as error:
            self.problem = str(error)
        else:
            if not self._decoder.ended:
                self.problem = "the record was cut short: it has no end"

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read_header(self) -> Header:
        for piece in self._pieces:
            try:
                self._first += self._decoder.feed(piece)
            except RecordDamaged as damaged:
                if self._decoder.header is None:
                    raise
                self._first += cast("tuple[Entry, ...]", damaged.before)
                self.problem = str(damaged)
            if self._decoder.header is not None:
                return self._decoder.header
        if self._file.size == 0:
            raise NotARecord("it is empty")
        raise RecordDamaged("it was cut short before its header ends")
