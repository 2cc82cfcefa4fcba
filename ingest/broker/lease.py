"""Who leads a feed: takes, renews and gives back the leases of one supervisor (lease.lua).

The rule: every call is one script, and none is repeated here; a call that fails is made again by who asked, when it is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import redis

from ingest.broker.clients import refusal, translated
from ingest.broker.keys import FORMAT, Keys
from ingest.broker.scripts import LEASE
from ingest.errors import BrokerRefused


@dataclass(frozen=True, slots=True)
class Terms:
    """What a lease is taken for: ``seconds`` without renewal, and ``what`` the feed reads and feeds (a fingerprint)."""

    seconds: float = 5.0
    what: str = ""

    @property
    def milliseconds(self) -> str:
        return f"{self.seconds * 1000:.0f}"


@dataclass(frozen=True, slots=True)
class Taken:
    """The lead is ours: ``before`` led last ("" if nobody ever did, or Redis forgot), was last alive at ``seen_us``
    (wall-clock microseconds of Redis, 0 if unknown), had come to message ``last_seq``, and left ``position`` (JSON, "" if none).
    What it read before ``safe_us`` (its own clock, 0 if unknown) was in its queue, or on its disk, by the time that it said so.
    """

    epoch: int
    before: str
    seen_us: int
    position: str
    last_seq: int
    safe_us: int


class Held(NamedTuple):
    """Another process leads; ``is_other`` says that it reads something else under the same name."""

    leader: str
    beat: str
    is_other: bool = False


class Spent(NamedTuple):
    """The producer has led, and another has led since: it never does again."""


class Bid(NamedTuple):
    """A lease to take for ``producer``; ``seen`` is a leader known to be dead, by its silence or otherwise.

    ``ghosts`` are candidates of dead processes that never knew whether they led, and so have done nothing.
    """

    feed: str
    producer: str
    terms: Terms
    seen: Held | None = None
    ghosts: Sequence[str] = ()


class Renewal(NamedTuple):
    """A lease to renew, or to give back; ``position`` is what the feed's session says of its place, as JSON, "" if nothing new.

    ``safe_us``: all that was read before that moment (wall-clock microseconds) is in its queue, or on disk.
    """

    feed: str
    producer: str
    position: str = ""
    safe_us: int = 0


class Renewed(NamedTuple):
    """``seq`` is the producer's position, None where Redis does not know it; ``leader`` is who leads instead."""

    status: Literal["ok", "fenced", "gone"]
    seq: int | None = None
    leader: str = ""


#: What became of a bid; an error is that of this feed alone.
Answer = Taken | Held | Spent | BrokerRefused


def take_arguments(bids: Sequence[Bid], *, again: bool = False) -> tuple[str, ...]:
    """Return what lease.lua wants for a `take`; ``again``: Redis has forgotten that these led."""
    wanted: list[str] = []
    for bid in bids:
        leader, beat = (bid.seen.leader, bid.seen.beat) if bid.seen is not None else ("", "")
        wanted += (bid.producer, bid.terms.milliseconds, leader, beat, bid.terms.what, " ".join(bid.ghosts))
    return ("take", str(FORMAT), "1" if again else "", *wanted)


class Leases:
    """The leases of one supervisor's feeds; not for several threads at once.

    All take many feeds, and what Redis has against one of them is that one's answer. What they raise is of the whole call, an
    `ingest.errors.BrokerError`, after which nobody knows whether it was executed: it may be made again.
    """

    def __init__(self, client: redis.Redis, keys: Keys, group: str, seconds: float) -> None:
        self._script = client.register_script(LEASE.source)
        self._keys = keys
        self._group = group
        self.seconds = seconds

    def take(self, bids: Sequence[Bid]) -> list[Answer]:
        """Try for all these leads in one call; the answers come in the same order."""
        answers = self._eval([bid.feed for bid in bids], *take_arguments(bids))
        return [_answer(bid.feed, answer) for bid, answer in zip(bids, answers, strict=True)]

    def renew(self, renewals: Sequence[Renewal]) -> list[Renewed]:
        """Renew all in one call; the answers come in the same order."""
        answers = self._eval([each.feed for each in renewals], "renew", f"{self.seconds * 1000:.0f}", *_told(renewals))
        return [_renewed(*answer) for answer in answers]

    def release(self, renewals: Sequence[Renewal]) -> list[bool | BrokerRefused]:
        """Give these leads back in one call; False where one was not ours any more."""
        answers = self._eval([each.feed for each in renewals], "release", *_told(renewals))
        return [bool(value) if status == b"ok" else _error(value) for status, value in answers]

    def _eval(self, feeds: Sequence[str], *arguments: str) -> Any:
        keys = [self._keys.feed(self._group, feed) for feed in feeds]
        with translated():
            return self._script(keys, arguments)  # by its digest; where Redis does not know it, it is loaded first


def _told(renewals: Sequence[Renewal]) -> list[str]:
    return [value for each in renewals for value in (each.producer, each.position, str(each.safe_us or ""))]


def _error(text: bytes) -> BrokerRefused:
    return refusal(text.decode(errors="replace"))


def _answer(feed: str, answer: list[bytes]) -> Answer:
    if answer[0] == b"error":
        return _error(answer[1])
    try:
        return _taken(answer)
    except ValueError as error:  # somebody else has written there
        return refusal(f"what is kept of feed {feed} is not ours: {error}")


def _taken(answer: list[bytes]) -> Taken | Held | Spent:
    status, *values = [value.decode() for value in answer]
    if status == "spent":
        return Spent()
    if status != "taken":
        return Held(values[0], values[1], status == "other")
    epoch, before, seen_ms, position, seq, safe_us = values
    return Taken(int(epoch), before, int(seen_ms or 0) * 1000, position, int(seq or 0), int(safe_us or 0))


def _renewed(status: bytes, value: bytes) -> Renewed:
    if status == b"ok":
        return Renewed("ok", int(value) if value else None)
    return Renewed("fenced", leader=value.decode()) if status == b"fenced" else Renewed("gone")
