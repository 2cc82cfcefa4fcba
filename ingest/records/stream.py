"""A record on disk: one compressed stream, and the only importer of ``zstandard``.

The rule: what was flushed can be read whatever happens to the process, up to the last whole entry; and no error of the library or
of the disk leaves here without a sentence.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import zstandard

from ingest.errors import NotARecord, RecordDamaged, RecordError

#: JSON of one feed shrinks to a tenth; higher levels cost more than they gain.
_LEVEL = 6

_PIECE = 256 * 1024
_READ = 64 * 1024

#: A reader's memory is bounded by this, whatever a file asks for.
_LARGEST_WINDOW = 128 * 1024 * 1024

_MAGIC = b"\x28\xb5\x2f\xfd"


class CompressedFile:
    """A new file, readable by its owner alone, that takes bytes; not for several threads at once.

    ``OSError`` where it cannot be made (``FileExistsError`` where there is one already) or written.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
        self._dirty = False
        self.bytes_written = 0

    def write(self, data: bytes) -> None:
        """Take bytes; they may wait in memory until `flush`."""
        self._dirty = True
        self._put(self._compressor.compress(data))

    def flush(self) -> None:
        """Bring to the file what waits in memory."""
        if self._dirty:
            self._put(self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
            self._dirty = False

    def finish(self) -> None:
        """End the stream in order; only `close` after it."""
        self._put(self._compressor.flush())

    def close(self) -> None:
        """Give the file back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            self.bytes_written += written
            view = view[written:]


class DecompressedFile:
    """The bytes of a compressed file, piece by piece; a file that was cut short simply ends.

    ``OSError`` where it cannot be read, `NotARecord` where it is something else.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.size = os.fstat(self._file.fileno()).st_size
        if not _MAGIC.startswith(self._file.read(len(_MAGIC))):
            self._file.close()
            raise NotARecord("it is not compressed with zstd")
        self._file.seek(0)

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""
        return 0 if self._file.closed else self._file.tell()

    def __iter__(self) -> Iterator[bytes]:
        given = 0
        try:
            for piece in _pieces(self._file):
                given += len(piece)
                yield piece
        except zstandard.ZstdError as error:
            yield from self._up_to_the_damage(given, error)
        except OSError as error:
            raise RecordError(os.strerror(error.errno) if error.errno else str(error)) from error

    def _up_to_the_damage(self, given: int, damage: Exception) -> Iterator[bytes]:
        """Yield what is whole between what was given and the damage, which the library swallows with it: read byte by byte."""
        careful_from = max(0, self._file.tell() - 2 * _READ)
        self._file.seek(0)
        try:
            for piece in _pieces(_Careful(self._file, careful_from)):
                if len(piece) > given:
                    yield piece[given:]
                given = max(0, given - len(piece))
        except zstandard.ZstdError:
            pass
        raise RecordDamaged(f"it does not decompress ({damage})") from damage

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Careful:
    """A file that is read byte by byte from an offset on."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file = file
        self._offset = offset

    def read(self, size: int = -1) -> bytes:
        return self._file.read(max(1, min(size, self._offset - self._file.tell())))


def _pieces(source: BinaryIO | _Careful) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    reader = decompressor.stream_reader(cast(BinaryIO, source), read_size=_READ, closefd=False)
    while piece := reader.read1(_PIECE):
        yield piece
