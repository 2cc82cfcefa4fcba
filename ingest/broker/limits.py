"""What a queue takes: ready messages and messages per second.

The rule: limits are checked when they are made, so that the script never meets contradictory ones.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Demand of one queue.

    At ``high`` ready messages enqueueing stops, at ``low`` it goes on. ``rate`` is messages per second over all who enqueue
    through this broker class, ``burst`` how many may come at once: by default 1/20 of a second's worth, at least one.
    """

    high: int = 20_000
    low: int = 10_000
    rate: float | None = None
    burst: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high:
            raise ValueError(f"low ({self.low}) must be at least 0 and below high ({self.high})")
        if self.rate is not None and self.rate <= 0:
            raise ValueError(f"rate ({self.rate:g}) must be above 0")
        if self.burst is not None and (self.rate is None or self.burst < 1):
            raise ValueError(f"burst ({self.burst:g}) needs a rate, and must be at least 1")

    @property
    def burst_messages(self) -> float:
        """How many messages may come at once; 0 without a rate."""
        if self.rate is None:
            return 0.0
        return self.burst if self.burst is not None else max(1.0, self.rate / 20)
