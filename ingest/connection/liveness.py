"""The deadlines of one open connection, as arithmetic on the monotonic clock.

The rule: nothing here reads a clock or sends; every method takes ``now`` in seconds. Any inbound frame is
life for ``idle_timeout``, only a data frame for ``data_timeout``, only the matching pong answers a ping.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingest.errors import DataTimedOut, EndReason, IdleTimedOut, PingTimedOut, ReadyTimedOut
from settings.model import FeedSettings

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The settings that liveness obeys, in seconds; None (or 0 for ``ping_interval``) turns one off."""

    ready: float | None
    idle: float | None
    data: float | None
    ping_interval: float
    ping_timeout: float
    heartbeat: float | None


def deadlines_of(feed: FeedSettings) -> Deadlines:
    """Return the deadlines that a feed's settings name."""
    return Deadlines(
        ready=feed.ready_timeout,
        idle=feed.idle_timeout,
        data=feed.data_timeout,
        ping_interval=feed.ping_interval,
        ping_timeout=feed.ping_timeout,
        heartbeat=feed.heartbeat.interval if feed.heartbeat is not None else None,
    )


class Liveness:
    """One connection's deadlines, from the upgrade on."""

    __slots__ = (
        "_beat_due",
        "_data_at",
        "_heard_at",
        "_limits",
        "_ping",
        "_ping_due",
        "_ping_sent_at",
        "_ready_by",
        "_suspended",
    )

    def __init__(self, limits: Deadlines, now: float) -> None:
        self._limits = limits
        self._heard_at = now
        self._data_at = now
        self._ready_by = _NEVER if limits.ready is None else now + limits.ready
        self._ping: bytes | None = None
        self._ping_sent_at = now
        self._ping_due = now + limits.ping_interval if limits.ping_interval > 0 else _NEVER
        self._beat_due = _NEVER if limits.heartbeat is None else now + limits.heartbeat
        self._suspended = False

    def heard(self, now: float, *, data: bool) -> None:
        """Note that something came, and whether a data frame was among it."""
        self._heard_at = now
        if data:
            self._data_at = now

    def readied(self) -> None:
        """Note that the connection is ready: ``ready_timeout`` no longer counts."""
        self._ready_by = _NEVER

    def ping_due(self, now: float) -> bool:
        """Tell whether a ping should leave now; one at a time, and none while reading is suspended."""
        return self._ping is None and not self._suspended and now >= self._ping_due

    def ping_sent(self, payload: bytes, now: float) -> None:
        self._ping = payload
        self._ping_sent_at = now

    def pong(self, payload: bytes, now: float) -> float | None:
        """Return the round trip in seconds if this pong answers our ping, else None (RFC 6455, 5.5.3)."""
        if self._ping is None or payload != self._ping:
            return None
        self._ping = None
        self._ping_due = self._ping_sent_at + self._limits.ping_interval
        return now - self._ping_sent_at

    def heartbeat_due(self, now: float) -> bool:
        return now >= self._beat_due

    def heartbeat_sent(self, now: float) -> None:
        self._beat_due = now + (self._limits.heartbeat or _NEVER)

    def suspend(self) -> None:
        """Stop the deadlines that need reading, because reading has stopped (``overflow = "block"``)."""
        self._suspended = True

    def resume(self, now: float) -> None:
        """Let them count again, from now: what came meanwhile has not been read yet."""
        self._suspended = False
        self._heard_at = self._data_at = self._ping_sent_at = now
        if self._ready_by != _NEVER and self._limits.ready is not None:
            self._ready_by = now + self._limits.ready

    def expired(self, now: float) -> EndReason | None:
        """Return why the connection is over, or None while it lives."""
        limits = self._limits
        if self._suspended:
            return None
        if self._ping is not None and now >= self._ping_sent_at + limits.ping_timeout:
            return PingTimedOut(limits.ping_timeout)
        if limits.idle is not None and now >= self._heard_at + limits.idle:
            return IdleTimedOut(limits.idle)
        if limits.data is not None and now >= self._data_at + limits.data:
            return DataTimedOut(limits.data)
        if now >= self._ready_by:
            return ReadyTimedOut(limits.ready or 0.0)
        return None

    def next_at(self) -> float:
        """Return the moment at which something is due or expires; infinity if nothing ever is."""
        if self._suspended:
            return self._beat_due
        limits = self._limits
        return min(
            self._beat_due,
            self._ready_by,
            self._ping_due if self._ping is None else self._ping_sent_at + limits.ping_timeout,
            _NEVER if limits.idle is None else self._heard_at + limits.idle,
            _NEVER if limits.data is None else self._data_at + limits.data,
        )
