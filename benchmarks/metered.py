"""Runs a Python module and tells what it has used: one line of JSON on standard output for each line on standard input.

``python -m benchmarks.metered MODULE ARGUMENTS…``. The rule: the module is run as it is; the meter is a thread that sleeps until
it is asked, so that every kind is measured alike, by its own `getrusage`.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sys
import threading
from pathlib import Path


def answer() -> None:
    out = os.fdopen(os.dup(1), "w")
    for _ in sys.stdin:
        print(json.dumps(usage()), file=out, flush=True)


def usage() -> dict[str, float]:
    """Return CPU seconds (user and system), resident and peak memory in MiB, and threads but this one."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    lines = Path("/proc/self/status").read_text().splitlines()
    status = {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines) if value.strip()}
    return {
        "cpu": used.ru_utime + used.ru_stime,
        "rss": int(status["VmRSS"]) / 1024,
        "peak": int(status["VmHWM"]) / 1024,
        "threads": int(status["Threads"]) - 1,
    }


def main(module: str, *arguments: str) -> None:
    threading.Thread(target=answer, daemon=True).start()
    sys.argv = [module, *arguments]
    sys.stdout = sys.stderr  # what the module prints is not an answer
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
