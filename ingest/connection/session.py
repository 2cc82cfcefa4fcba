"""The user's contract: a `Session` says what is sent after the upgrade and what becomes of every frame.

The rule: a new session is made for every connection attempt, so its plain attributes are connection-local
state; only ``memory`` survives. Sessions never see a socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from settings.model import FeedSettings

#: What may be sent: ``str`` leaves as a text frame, ``bytes`` as a binary one.
Outgoing = str | bytes

#: A JSON value: None, a bool, a number, a ``str``, or a list or dict of these.
JSON = Any


class To:
    """One payload with its own destination; what is None comes from the feed's settings."""

    __slots__ = ("actor", "options", "payload", "queue")

    def __init__(
        self,
        payload: Any,
        *,
        actor: str | None = None,
        queue: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.payload = payload
        self.actor = actor
        self.queue = queue
        self.options = options

    def __repr__(self) -> str:
        return f"To(actor={self.actor!r}, queue={self.queue!r})"


class Emit:
    """Queue zero, one or many payloads (JSON values, ``bytes``, or `To`); send ``reply`` at once, ``ack`` once all are safe.

    Safe is what Redis, or a spool that outlives the process, has confirmed. The acks of a connection leave in order, each only
    when every payload up to its own is safe; at the end of the connection those that have not left are forgotten.
    """

    __slots__ = ("ack", "payloads", "ready", "reply")

    def __init__(self, *payloads: Any, reply: Sequence[Outgoing] = (), ack: Sequence[Outgoing] = (), ready: bool = False) -> None:
        self.payloads = payloads
        self.reply = reply
        self.ack = ack
        self.ready = ready

    def __repr__(self) -> str:
        return (
            f"Emit({len(self.payloads)} payloads, reply={len(self.reply)} frames, ack={len(self.ack)} frames, ready={self.ready})"
        )


class Skip:
    """Emit nothing; the frame still counts as life."""

    __slots__ = ("ready", "reply")

    def __init__(self, *, reply: Sequence[Outgoing] = (), ready: bool = False) -> None:
        self.reply = reply
        self.ready = ready

    def __repr__(self) -> str:
        return f"Skip(reply={len(self.reply)} frames, ready={self.ready})"


class Fail:
    """End this connection; backoff follows, or the stop if ``fatal``.

    ``retry_after`` is in seconds; 0 means reconnect now, and is no failure (a venue's planned restart).
    """

    __slots__ = ("fatal", "reason", "retry_after")

    def __init__(self, reason: str, *, fatal: bool = False, retry_after: float | None = None) -> None:
        self.reason = reason
        self.fatal = fatal
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"Fail({self.reason!r}, fatal={self.fatal}, retry_after={self.retry_after})"


class Session:
    """What a feed does with its connection; override what you need.

    ``feed`` (the feed's settings) and ``memory`` (a dict that survives reconnects) are set before `setup`.
    """

    feed: FeedSettings
    memory: dict[str, Any]
    #: True: the connection is not ready until a result says ``ready=True``, within ``ready_timeout`` seconds.
    awaits_ready: bool = False

    def setup(self, *_: Any, **session_args: Any) -> None:
        """Take the feed's ``session_args`` as keyword arguments and prepare connection-local state; name yours as you like."""
        if session_args:
            raise TypeError(
                f"{type(self).__name__}.setup takes no arguments, but session_args has {', '.join(sorted(session_args))}"
            )

    def url(self) -> str:
        """Return the ``ws://`` or ``wss://`` URL of this attempt; may fetch a one-time URL."""
        return self.feed.url

    def headers(self) -> Mapping[str, str]:
        """Return the upgrade's extra headers; called before every attempt."""
        return {name: value.get_secret_value() for name, value in self.feed.headers.items()}

    def on_upgrade(self) -> Sequence[Outgoing]:
        """Return the frames to send right after the upgrade."""
        return self.feed.subscribe

    def on_frame(self, payload: str | bytes) -> Emit | Skip | Fail:
        """Say what becomes of one text (``str``) or binary (``bytes``) message."""
        return Emit(payload)

    def heartbeat(self) -> Sequence[Outgoing]:
        """Return the frames to send every ``heartbeat.interval`` seconds."""
        beat = self.feed.heartbeat
        return (beat.text,) if beat is not None and beat.text is not None else ()

    def position(self) -> JSON | None:
        """Return where the stream is now (a trade id, say), for the records of gaps; None: as it was.

        Called after every hand-over of emitted payloads, so it must be quick.
        """
        return None
