"""Whether depth costs anything: enqueue speed, CPU and memory of one supervisor while its queue grows from nothing to a million.

``python -m benchmarks.depth [FRAMES]``: 180-byte frames, nobody consumes. Each column is a tenth of the way, medians of rounds.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from functools import partial

from benchmarks.into_the_queue import QUEUE, Case, supervisor
from benchmarks.measuring import ROUNDS, Metered, Place, a_place, keep, median, server, table, wait_for

FRAMES = 1_000_000
STEPS = 10
SIZE = 180


@dataclass(frozen=True, slots=True)
class Stretch:
    """A tenth of the way: up to which depth, frames per second, microseconds of CPU a frame, resident MiB at its end."""

    depth: int
    rate: float
    cpu_us: float
    rss: float


def main(frames: str = str(FRAMES)) -> None:
    with a_place() as place:
        rounds = [measure(place, int(frames)) for _ in range(ROUNDS)]
    stretches = [middle([one[at] for one in rounds]) for at in range(STEPS)]
    for each in stretches:
        keep("depth", asdict(each))
    rows = [[f"{s.depth:,}", f"{s.rate:,.0f}", f"{s.cpu_us:.2f}", f"{s.rss:.0f}"] for s in stretches]
    print(table(("depth of the queue, up to", "frames/s", "µs CPU a frame", "RSS, MB"), rows))
    first, last = stretches[0], stretches[-1]
    print(
        f"\nThe last tenth against the first: {last.rate / first.rate:.2f} × the frames/s, "
        f"{last.cpu_us / first.cpu_us:.2f} × the CPU a frame, {last.rss - first.rss:+.0f} MB."
    )


def measure(place: Place, frames: int) -> list[Stretch]:
    place.client.flushall()
    with server("benchmarks.flood_server") as port, supervisor("", Case(place, "ws", SIZE, port)) as process:
        wait_for(partial(place.client.llen, QUEUE), "a first frame")
        found = []
        for step in range(1, STEPS + 1):
            found.append(stretch(place, process, frames * step // STEPS))
        return found


def stretch(place: Place, process: Metered, until: int) -> Stretch:
    first, before, began = int(place.client.llen(QUEUE)), process.usage(), time.monotonic()
    wait_for(lambda: int(place.client.llen(QUEUE)) >= until, f"{until} messages", pause=0.002)
    last, after, seconds = int(place.client.llen(QUEUE)), process.usage(), time.monotonic() - began
    done = max(1, last - first)
    return Stretch(until, done / seconds, (after.cpu - before.cpu) / done * 1e6, after.rss)


def middle(found: list[Stretch]) -> Stretch:
    """Return the medians of the same stretch in all rounds."""
    return Stretch(
        found[0].depth,
        median([each.rate for each in found]),
        median([each.cpu_us for each in found]),
        median([each.rss for each in found]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
