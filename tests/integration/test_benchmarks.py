"""The benchmarks, as far as they call the classes themselves: a change of those must not break them unseen."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.command_line import ROOT


def test_every_stage_can_still_be_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.stages", "180"]
    environment = {**os.environ, "BENCH_ROUNDS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    costs = {name: float(cost) for name, cost in rows}
    assert len(costs) == 9, rows
    assert costs["sum"] > 0
