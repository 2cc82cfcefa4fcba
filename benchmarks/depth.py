"""Whether depth costs anything: enqueue speed, CPU and memory of one supervisor while its queue grows past a million.

``python -m benchmarks.depth [STRETCHES]``: 180-byte frames, nobody consumes; a row is a hundred thousand, medians of rounds.
Valkey's own hash grows by doubling and moves its entries step by step with the calls that follow; what that costs is
seen in Valkey's column.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from functools import partial

from benchmarks.into_the_queue import QUEUE, Case, supervisor
from benchmarks.measuring import ROUNDS, Metered, Place, a_place, cpu_of, keep, median, server, table, wait_for

STRETCHES = 13
LENGTH = 100_000
SIZE = 180


@dataclass(frozen=True, slots=True)
class Stretch:
    """Up to which depth, frames per second, microseconds of CPU a frame here and in Valkey, resident MiB at its end."""

    depth: int
    rate: float
    cpu_us: float
    valkey_us: float
    rss: float


def main(stretches: str = str(STRETCHES)) -> None:
    with a_place() as place:
        rounds = [measure(place, int(stretches)) for _ in range(ROUNDS)]
    found = [middle(list(each)) for each in zip(*rounds, strict=True)]
    for each in found:
        keep("depth", asdict(each))
    rows = [[f"{s.depth:,}", f"{s.rate:,.0f}", f"{s.cpu_us:.2f}", f"{s.valkey_us:.2f}", f"{s.rss:.0f}"] for s in found]
    print(table(("depth of the queue, up to", "frames/s", "µs CPU a frame", "in Valkey", "RSS, MB"), rows))
    first, last = found[0], found[-1]
    print(
        f"\nThe last stretch against the first: {last.rate / first.rate:.2f} × the frames/s, "
        f"{last.cpu_us / first.cpu_us:.2f} × the CPU a frame, {last.rss - first.rss:+.0f} MB."
    )


def measure(place: Place, stretches: int) -> list[Stretch]:
    place.client.flushall()
    with server("benchmarks.flood_server") as port, supervisor("", Case(place, "ws", SIZE, port)) as process:
        wait_for(partial(place.client.llen, QUEUE), "a first frame")
        return [stretch(place, process, LENGTH * number) for number in range(1, stretches + 1)]


def stretch(place: Place, process: Metered, until: int) -> Stretch:
    first, before, valkey, began = int(place.client.llen(QUEUE)), process.usage(), cpu_of(place.pid), time.monotonic()
    wait_for(lambda: int(place.client.llen(QUEUE)) >= until, f"{until} messages", pause=0.002)
    last, after, seconds = int(place.client.llen(QUEUE)), process.usage(), time.monotonic() - began
    done = max(1, last - first)
    costs = [spent / done * 1e6 for spent in (after.cpu - before.cpu, cpu_of(place.pid) - valkey)]
    return Stretch(until, done / seconds, costs[0], costs[1], after.rss)


def middle(found: list[Stretch]) -> Stretch:
    """Return the medians of the same stretch in all rounds."""
    return Stretch(
        found[0].depth,
        median([each.rate for each in found]),
        median([each.cpu_us for each in found]),
        median([each.valkey_us for each in found]),
        median([each.rss for each in found]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
