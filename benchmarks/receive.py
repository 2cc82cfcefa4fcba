"""Receive only: frames per second and CPU per frame of six clients, plain and over TLS, side by side.

One warm-up round says how many frames fill a round of each client; then alternating rounds, medians. Server and client are
processes of their own. ``python -m benchmarks.receive [FILE]`` prints a table and writes the numbers as JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import trustme

from benchmarks.measuring import ROOT, ROUNDS, server
from benchmarks.receive_clients import CLIENTS

SIZES = (180, 2000, 20_000)
BASE, FAST = "websocket-client, no validation", "picows"
#: Seconds that a round should take, and how many bytes it may have (under TLS they lie ready in the server's memory).
SECONDS, LARGEST = 0.6, 256_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of one client at one size; rates in frames per second, costs in microseconds of CPU per frame."""

    scheme: str
    size: int
    client: str
    rate: float
    cpu_us: float
    slowest: float
    fastest: float


def main(file: str = "receive.json") -> None:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="b-") as folder:
        ca_file, pair = certificates(Path(folder))
        print("| | frame | client | frames/s | µs CPU | to websocket-client unchecked | to picows |")
        print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
        for scheme, certificate in (("ws", None), ("wss", pair)):
            with server("benchmarks.receive_server", *([certificate] if certificate else [])) as port:
                for size in SIZES:
                    found = measure(scheme, size, f"{scheme}://127.0.0.1:{port}", ca_file if certificate else None)
                    rows += found
                    print("\n".join(lines(found)), flush=True)
    Path(file).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def measure(scheme: str, size: int, url: str, ca_file: str | None) -> list[Row]:
    """Measure all clients at one size in alternating rounds."""
    counts = {name: enough(one_round(name, url, size, 2000, ca_file)[0], size) for name in CLIENTS}
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in CLIENTS}
    for _ in range(ROUNDS):
        for name, found in rounds.items():
            found.append(one_round(name, url, size, counts[name], ca_file))
    return [row(scheme, size, name, found) for name, found in rounds.items()]


def enough(rate: float, size: int) -> int:
    """Return how many frames a round has that takes about ``SECONDS``."""
    return max(500, min(int(rate * SECONDS), LARGEST // size))


def one_round(name: str, url: str, size: int, count: int, ca_file: str | None) -> tuple[float, float]:
    """Let a client receive ``count`` frames; return its rate and its CPU per frame. The first tenth is its warm-up."""
    command = [sys.executable, "-m", "benchmarks.receive_clients", name, f"{url}/{size}/{count}", str(count), str(count // 10)]
    done = subprocess.run([*command, *([ca_file] if ca_file else [])], cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=120)
    found = json.loads(done.stdout)
    return found["frames"] / found["seconds"], found["cpu"] / found["frames"] * 1e6


def row(scheme: str, size: int, name: str, found: list[tuple[float, float]]) -> Row:
    rates = [rate for rate, _ in found]
    cost = statistics.median(cpu for _, cpu in found)
    return Row(scheme, size, name, statistics.median(rates), cost, min(rates), max(rates))


def lines(rows: list[Row]) -> list[str]:
    rates = {row.client: row.rate for row in rows}
    return [
        f"| {row.scheme} | {row.size} B | {row.client} | {row.rate:,.0f} | {row.cpu_us:.2f} "
        f"| {row.rate / rates[BASE]:.1f} | {row.rate / rates[FAST]:.2f} |"
        for row in rows
    ]


def certificates(folder: Path) -> tuple[str, str]:
    """Return the file of an authority, and the one of a certificate of 127.0.0.1 with its key."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "pair.pem"))
    return str(folder / "ca.pem"), str(folder / "pair.pem")


if __name__ == "__main__":
    main(*sys.argv[1:])
