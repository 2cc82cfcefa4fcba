"""What quiet feeds cost: one supervisor with 1 to 500 connections over wss on which nothing comes but pongs.

``python -m benchmarks.feeds [NUMBER…]``. The window is a whole ping interval, so that every feed has pinged once; CPU is the
supervisor's own `getrusage`, Redis operations are what its counter says.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass

from benchmarks.measuring import Place, a_place, keep, server, table, wait_for
from ingest.broker.status import read_statuses

NUMBERS = (1, 10, 100, 500)
WINDOW = 20.0


@dataclass(frozen=True, slots=True)
class Quiet:
    """The cost of so many feeds; memory in MiB, CPU in per cent of a core, operations per second."""

    feeds: int
    rss: float
    threads: int
    connections: int
    cpu: float
    operations: float
    ready_after: float


def main(*numbers: str) -> None:
    with a_place() as place:
        found = [measure(place, int(number)) for number in numbers or NUMBERS]
    for each in found:
        keep("feeds", asdict(each))
    print(as_table(found), flush=True)


def measure(place: Place, number: int) -> Quiet:
    """Start a supervisor with so many feeds, let it settle, and watch it for a window."""
    place.client.flushall()
    before = connections(place)
    with server("benchmarks.quiet_server", str(place.certificate)) as port, place.supervisor(feeds(place, port, number)) as one:
        began = time.monotonic()
        wait_for(lambda: ready(place) == number, f"{number} feeds", seconds=120, pause=0.25)
        took = time.monotonic() - began
        time.sleep(5)  # joins, first status
        first, commands, at = one.usage(), place.commands(), time.monotonic()
        time.sleep(WINDOW)
        last, commands_after, seconds = one.usage(), place.commands(), time.monotonic() - at
        return Quiet(
            feeds=number,
            rss=last.rss,
            threads=last.threads,
            connections=connections(place) - before,
            cpu=(last.cpu - first.cpu) / seconds * 100,
            operations=(commands_after - commands - 1) / seconds,
            ready_after=took,
        )


def feeds(place: Place, port: int, number: int) -> str:
    one = 'url = "wss://127.0.0.1:{port}/{n}"\nactor = "handle"\nqueue = "trades"\ntls.ca_file = "{ca}"\n'
    return "".join(f"[feeds.feed{n}]\n" + one.format(port=port, n=n, ca=place.ca_file) for n in range(number))


def ready(place: Place) -> int:
    """Return how many feeds the supervisor says are ready."""
    statuses = read_statuses(place.client, "dramatiq")
    return sum(feed["state"] == "READY" for status in statuses for feed in status["feeds"].values())


def connections(place: Place) -> int:
    return int(place.client.info("clients")["connected_clients"])


def as_table(found: list[Quiet]) -> str:
    head = (
        "quiet wss feeds",
        "RSS, MB",
        "threads",
        "connections to Redis",
        "CPU, % of a core",
        "Redis operations/s",
        "all ready, s",
    )
    rows = [
        (
            str(q.feeds),
            f"{q.rss:.0f}",
            str(q.threads),
            str(q.connections),
            f"{q.cpu:.1f}",
            f"{q.operations:.0f}",
            f"{q.ready_after:.1f}",
        )
        for q in found
    ]
    return table(head, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
