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


class Renewal(NamedTuple):
    """A lease to renew; ``position`` is what the feed's session says of its place, as JSON, "" if nothing new.

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


def take_arguments(producer: str, terms: Terms, seen: Held | None, *, again: bool = False) -> tuple[str, ...]:
    """Return what lease.lua wants for a `take`."""
    leader, beat = (seen.leader, seen.beat) if seen is not None else ("", "")
    return ("take", producer, terms.milliseconds, leader, beat, terms.what, str(FORMAT), "1" if again else "")


class Leases:
    """The leases of one supervisor's feeds; not for several threads at once.

    All raise `ingest.errors.BrokerError`, after which nobody knows whether the call was executed: it may be made again.
    """

    def __init__(self, client: redis.Redis, keys: Keys, group: str, seconds: float) -> None:
        self._script = client.register_script(LEASE.source)
        self._keys = keys
        self._group = group
        self.seconds = seconds

    def take(self, feed: str, producer: str, terms: Terms, seen: Held | None = None) -> Taken | Held | Spent:
        """Try to lead with ``producer``; ``seen`` is a leader known to be dead, by its silence or otherwise."""
        answer = self._eval([feed], *take_arguments(producer, terms, seen))
        try:
            return _taken(answer)
        except ValueError as error:  # somebody else has written there; it is this feed's trouble alone
            raise refusal(f"what is kept of feed {feed} is not ours: {error}") from error

    def renew(self, renewals: Sequence[Renewal]) -> list[Renewed]:
        """Renew all in one call; the answers come in the same order."""
        told = [value for each in renewals for value in (each.producer, each.position, _known(each.safe_us))]
        answers = self._eval([each.feed for each in renewals], "renew", f"{self.seconds * 1000:.0f}", *told)
        return [_renewed(*answer) for answer in answers]

    def release(self, feed: str, producer: str, position: str = "", safe_us: int = 0) -> bool:
        """Give the lead back; False if it was not ours any more."""
        return bool(self._eval([feed], "release", producer, position, _known(safe_us)))

    def _eval(self, feeds: Sequence[str], *arguments: str) -> Any:
        keys = [self._keys.feed(self._group, feed) for feed in feeds]
        with translated():
            return self._script(keys, arguments)  # by its digest; where Redis does not know it, it is loaded first


def _known(moment_us: int) -> str:
    return str(moment_us) if moment_us else ""


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
