"""What goes wrong on a bad day, and when: one seed, one endless plan.

The rule: pure; a plan says what and for how long, the server does it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

FaultKind = Literal["drop", "stall", "restart", "refuse"]

#: ``drop``: one client's connection ends with a reset. ``stall``: nothing is sent or read for a while. ``restart``: everybody is
#: closed with 1012, and refused for a while. ``refuse``: the same without the courtesy of a close frame.
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: ``after`` seconds since the last one ended, for ``lasting`` seconds; ``choice`` (0 to 1) picks whom it hits."""

    kind: FaultKind
    after: float
    lasting: float
    choice: float


def plan(seed: int, interval: float) -> Iterator[Fault]:
    """Yield faults for ever, ``interval`` seconds apart on average; each kind comes once in every four."""
    rng = random.Random(f"{seed} faults")
    while True:
        for kind in rng.sample(KINDS, len(KINDS)):
            lasting = 0.0 if kind == "drop" else rng.uniform(0.25, 0.5) * interval
            yield Fault(kind, rng.uniform(0.5, 1.5) * interval, lasting, rng.random())
