"""From socket to queue: frames per second and CPU per frame, by hand and with the supervisor, side by side.

``python -m benchmarks.into_the_queue [SIZE…]``: plain and over wss (one TLS record per message), one message per frame, batches,
and a compressed feed; beside them what the machine allows. Alternating rounds in one run on one machine, medians; a round is a
window of time after a warm-up.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import dramatiq
from pydantic import ValidationError

from benchmarks.measuring import ROUNDS, Metered, Place, a_place, cpu_of, keep, median, server, spread, table, wait_for
from settings.model import FeedSettings

SIZES = (180, 2000, 20_000)
QUEUE = "dramatiq:trades"

#: Seconds from the first message to the window, and of the window.
WARM_UP, WINDOW = 0.25, 0.6

BASE = "websocket-client + `actor.send`"
OURS = "ours"

#: At least so many times as fast as by hand, at most so many µs of CPU a frame (None: no floor).
FLOORS: dict[tuple[str, int], tuple[float, float | None]] = {
    ("ws", 180): (50, 6),
    ("ws", 2000): (45, 13),
    ("ws", 20_000): (30, None),
    ("wss", 180): (40, 8),
}


@dataclass(frozen=True, slots=True)
class Case:
    """What is read in a round."""

    place: Place
    scheme: str
    size: int
    port: int

    def url(self, deflate: bool = False) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/{self.size}" + ("/deflate" if deflate else "")

    @property
    def ca_file(self) -> tuple[str, ...]:
        return (str(self.place.ca_file),) if self.scheme == "wss" else ()


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to do it: how it is run, and how many frames it has done."""

    name: str
    run: Callable[[Case], AbstractContextManager[Metered]]
    count: Callable[[Case], int]


@dataclass(frozen=True, slots=True)
class Measured:
    """One round: frames per second, microseconds of CPU per frame, there and in Valkey."""

    rate: float
    cpu_us: float
    valkey_us: float


def messages(case: Case) -> int:
    return int(case.place.client.llen(QUEUE))


def frames(case: Case) -> int:
    """Return the number of the last frame in the queue."""
    newest = case.place.client.lindex(QUEUE, -1)
    data = case.place.client.hget(f"{QUEUE}.msgs", newest) if newest else None
    if data is None:
        return 0
    told = dramatiq.Message.decode(data).options["frame"]
    return int(told["seq"]) + int(told.get("count", 1)) - 1


def received(case: Case) -> int:
    return int(case.place.client.get("received") or 0) // (case.size + (2 if case.size < 126 else 4))


def by_hand(client: str, case: Case) -> AbstractContextManager[Metered]:
    return case.place.python("benchmarks.by_hand", client, case.url(), *case.ca_file)


def supervisor(feed: str, case: Case) -> AbstractContextManager[Metered]:
    text = f'[queues.trades]\nhigh_watermark = 100_000_000\n[feeds.trades]\nurl = "{case.url("deflate" in feed)}"\n'
    text += 'actor = "handle"\nqueue = "trades"\n' + feed
    return case.place.supervisor(text + "".join(f'tls.ca_file = "{file}"\n' for file in case.ca_file))


def push(case: Case) -> AbstractContextManager[Metered]:
    return case.place.python("benchmarks.limits", "push", str(case.size))


def recv(case: Case) -> AbstractContextManager[Metered]:
    return case.place.python("benchmarks.limits", "recv", case.url(), *case.ca_file)


def kinds(scheme: str) -> list[Kind]:
    """Return what can be measured here; what this version has no setting for is told, and left out."""
    found = [
        Kind(BASE, partial(by_hand, "websocket-client"), messages),
        Kind("websockets + `actor.send`", partial(by_hand, "websockets"), messages),
        Kind(OURS, partial(supervisor, ""), frames),
    ]
    for name, text, key, value in (
        ("ours, batches of 100", "batch.size = 100\n", "batch", {"size": 100}),
        ("ours, compressed feed", 'compression = "deflate"\n', "compression", "deflate"),
    ):
        if knows(key, value):
            found.append(Kind(name, partial(supervisor, text), frames))
        else:
            print(f"skipped: {name}: no setting {key!r} in this version", file=sys.stderr)
    found.append(Kind("limit: `recv` alone", recv, received))
    if scheme == "ws":
        found.append(Kind("limit: HSET + RPUSH, pipelined", push, messages))
    return found


def knows(key: str, value: object) -> bool:
    try:
        FeedSettings.model_validate({"name": "x", "url": "ws://x/", "actor": "x", key: value})
    except ValidationError:
        return False
    return True


def a_round(kind: Kind, case: Case) -> Measured:
    case.place.empty()
    with kind.run(case) as process:
        wait_for(lambda: kind.count(case), f"{kind.name}: a first frame", pause=0.02)
        time.sleep(WARM_UP)
        before, first, began = process.usage(), kind.count(case), time.monotonic()
        valkey = cpu_of(case.place.pid)
        time.sleep(WINDOW)
        done, seconds, after = kind.count(case) - first, time.monotonic() - began, process.usage()
        assert done > 0, f"{kind.name}: nothing went on"
        valkey = cpu_of(case.place.pid) - valkey
        return Measured(done / seconds, (after.cpu - before.cpu) / done * 1e6, valkey / done * 1e6)


def measure(place: Place, scheme: str, size: int) -> list[list[str]]:
    """Measure every kind in alternating rounds; keep the numbers and return the rows."""
    ways = kinds(scheme)
    rounds: dict[str, list[Measured]] = {kind.name: [] for kind in ways}
    certificate = (str(place.certificate),) if scheme == "wss" else ()
    with server("benchmarks.flood_server", *certificate) as port:
        case = Case(place, scheme, size, port)
        for _ in range(ROUNDS):
            for kind in ways:
                rounds[kind.name].append(a_round(kind, case))
    place.empty()
    return [row(scheme, size, name, found, rounds[BASE]) for name, found in rounds.items()]


def row(scheme: str, size: int, name: str, found: list[Measured], base: list[Measured]) -> list[str]:
    rates, costs = [each.rate for each in found], [each.cpu_us for each in found]
    ratio = median([ours.rate / theirs.rate for ours, theirs in zip(found, base, strict=True)])
    keep(
        "into_the_queue",
        {
            "scheme": scheme,
            "size": size,
            "name": name,
            "rate": median(rates),
            "rates": spread(rates),
            "cpu_us": median(costs),
            "cpu_us_spread": spread(costs),
            "valkey_us": median([each.valkey_us for each in found]),
            "ratio": ratio,
        },
    )
    floor = FLOORS.get((scheme, size)) if name == OURS else None
    return [
        f"{scheme}, {size} B: {name}",
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f}–{max(rates):,.0f}",
        f"{ratio:.1f}",
        f"{median(costs):.1f}",
        f"{median([each.valkey_us for each in found]):.1f}",
        judged(floor, ratio, median(costs)) if floor else "",
    ]


def judged(floor: tuple[float, float | None], ratio: float, cost: float) -> str:
    least, most = floor
    text = f"≥ {least:g} ×" + (f", ≤ {most:g} µs" if most else "")
    return f"{text}: {'reached' if ratio >= least and (most is None or cost <= most) else 'not reached'}"


def main(*sizes: str) -> None:
    with a_place() as place:
        rows = [
            each
            for scheme in ("ws", "wss")
            for size in map(int, sizes or map(str, SIZES))
            for each in measure(place, scheme, size)
        ]
    print(table(("from socket to queue", "frames/s", "least–most", "× by hand", "µs CPU a frame", "in Valkey", "floor"), rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
