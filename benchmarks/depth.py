"""Whether depth costs anything: enqueue speed, CPU and memory of one supervisor while its queue grows past a million.

``python -m benchmarks.depth [STRETCHES]``: 180-byte frames, nobody consumes; a row is a hundred thousand, medians of rounds.
Beside it the same queue is filled by bare HSET and RPUSH (`limits`), because Valkey's own hash grows by doubling and moves its
entries step by step with the calls that follow: what both lose at the same depth is Valkey's.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, astuple, dataclass, fields, replace
from functools import partial

from benchmarks.into_the_queue import QUEUE, Case, supervisor
from benchmarks.measuring import ROUNDS, Metered, Place, a_place, cpu_of, keep, median, server, table, wait_for

STRETCHES = 13
LENGTH = 100_000
SIZE = 180

HEAD = (
    "depth of the queue, up to",
    "frames/s",
    "µs CPU a frame",
    "in Valkey",
    "RSS, MB",
    "HSET + RPUSH alone, messages/s",
    "in Valkey then",
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Up to which depth, frames per second, microseconds of CPU a frame here and in Valkey, resident MiB at its end.

    ``bare_rate`` and ``bare_valkey_us`` are those of HSET and RPUSH by themselves.
    """

    depth: int
    rate: float
    cpu_us: float
    valkey_us: float
    rss: float
    bare_rate: float = 0.0
    bare_valkey_us: float = 0.0


def main(stretches: str = str(STRETCHES)) -> None:
    with a_place() as place:
        rounds = [measure(place, int(stretches)) for _ in range(ROUNDS)]
    found = [middle(list(each)) for each in zip(*rounds, strict=True)]
    for each in found:
        keep("depth", asdict(each))
    print(table(HEAD, [row(each) for each in found]))
    first, last = found[0], found[-1]
    print(
        f"\nThe last stretch against the first: {last.rate / first.rate:.2f} × the frames/s (HSET + RPUSH alone "
        f"{last.bare_rate / first.bare_rate:.2f} ×), {last.cpu_us / first.cpu_us:.2f} × the CPU a frame, "
        f"{last.rss - first.rss:+.0f} MB."
    )


def row(found: Stretch) -> list[str]:
    texts = [f"{found.depth:,}", f"{found.rate:,.0f}", f"{found.cpu_us:.2f}", f"{found.valkey_us:.2f}", f"{found.rss:.0f}"]
    return [*texts, f"{found.bare_rate:,.0f}", f"{found.bare_valkey_us:.2f}"]


def measure(place: Place, stretches: int) -> list[Stretch]:
    place.empty()
    with server("benchmarks.flood_server") as port, supervisor("", Case(place, "ws", SIZE, port)) as process:
        ours = grow(place, process, stretches)
    place.empty()
    with place.python("benchmarks.limits", "push", str(SIZE)) as process:
        bare = grow(place, process, stretches)
    place.empty()
    return [replace(each, bare_rate=other.rate, bare_valkey_us=other.valkey_us) for each, other in zip(ours, bare, strict=True)]


def grow(place: Place, process: Metered, stretches: int) -> list[Stretch]:
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
    middles = [median([astuple(each)[at] for each in found]) for at in range(len(fields(Stretch)))]
    return Stretch(found[0].depth, *middles[1:])


if __name__ == "__main__":
    main(*sys.argv[1:])
