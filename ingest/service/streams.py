"""The command line's own output, where it takes no more: a disk is full, or nobody reads.

The rule: the exit code is the command's, or 1 where standard output did not take all; never Python's own 120 and its traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


@contextmanager
def flushed_at_end() -> Iterator[None]:
    """Write out at the end what the body has said. Where that fails, say so on standard error, and end with exit code 1."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        _discard(sys.stdout)
        if error.errno == errno.ENOSPC:
            with suppress(OSError):
                print(f"the output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    finally:
        try:
            sys.stderr.flush()
        except OSError:  # nobody can be told; what a supervisor achieved stays its exit code
            _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Let the null device have what the stream still holds, and would try to write as the process ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
