"""A publisher's core to decide for a test, and words that Redis may answer it."""

from __future__ import annotations

from ingest.broker.limits import Limits
from ingest.broker.line import Joined, Reply
from ingest.delivery.chain import Chain
from ingest.delivery.core import Pace, PublisherCore
from ingest.delivery.entry import Entry
from ingest.delivery.steps import Effect, Record
from ingest.errors import BrokerRefused, BrokerUnreachable
from ingest.events import GapFound

CUT = BrokerUnreachable("reset")

#: When the producer began, in wall-clock microseconds.
SINCE_US = 1_790_000_000_000_000


def refused(code: str, position: int | None = None) -> Reply:
    return Reply("error", position, error=BrokerRefused(code, "…"))


def make_core(**pace: int) -> PublisherCore:
    core = PublisherCore(
        feed="trades",
        label="t",
        queue="trades",
        watermarks=lambda _: Limits(high=20, low=10),
        pace=Pace(**pace),
        uniform=lambda low, high: high,
    )
    core.follow(Chain("p", since_us=SINCE_US), 0.0)
    return core


def chain_sent_to(last: int, *, confirmed: int) -> Chain:
    """Return the chain of which numbers up to ``last`` are under way."""
    chain = Chain("p", confirmed=confirmed)
    chain.remember([Entry(seq, seq, "trades", b"", b"", 0) for seq in range(confirmed + 1, last + 1)])
    chain.take(1000, 1000)
    return chain


def joined_core(**pace: int) -> PublisherCore:
    core = make_core(**pace)
    core.joined(Joined(0), 0.0)
    return core


def kinds(effect: Effect) -> list[type]:
    return [type(event) for event in effect.events]


def recorded_by(core: PublisherCore, now: float) -> GapFound:
    """Return the gap that is to be recorded before anything else."""
    action = core.next(now, True)
    assert isinstance(action, Record)
    return action.gap
