"""A Valkey whose clock the test sets: a small library, compiled here, stands between it and the system's clock."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.redis_server import Valkey, running_valkey

#: The offset lies in a file that both sides map, so a change holds at once.
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("CLOCK_OFFSET"), O_RDONLY);
    offset = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (offset == MAP_FAILED) abort();
}

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += *offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
"""


class SetClock:
    """A running server, and its clock."""

    def __init__(self, valkey: Valkey, offset: mmap.mmap) -> None:
        self.valkey = valkey
        self._offset = offset

    def set(self, seconds: int) -> None:
        """Let it go by the system's clock and so many seconds, from now on."""
        self._offset[:8] = struct.pack("q", seconds)


@contextmanager
def valkey_with_a_clock() -> Iterator[SetClock]:
    """Run one; the test is skipped where nothing can be built."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler: nothing else sets the clock of one process while it runs")
    with tempfile.TemporaryDirectory(prefix="clock-") as folder:
        library, source, shared = (Path(folder) / name for name in ("clock.so", "clock.c", "offset"))
        source.write_text(SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        shared.write_bytes(bytes(mmap.PAGESIZE))
        with shared.open("r+b") as file, mmap.mmap(file.fileno(), mmap.PAGESIZE) as offset, pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_PRELOAD", os.fspath(library))
            patch.setenv("CLOCK_OFFSET", os.fspath(shared))
            with running_valkey() as valkey:
                patch.undo()
                clock = SetClock(valkey, offset)
                clock.set(0)
                yield clock


@pytest.fixture
def clock() -> Iterator[SetClock]:
    """A server of the test's own, and its clock."""
    with valkey_with_a_clock() as made:
        yield made
