"""Drive a session through frames without a socket, with the meaning that a real connection gives to its answers.

The rule: what a frame's result means is decided by `ingest.connection.outcome`, and what can be queued by the
feed's own envelope, as in production; nothing here sleeps or connects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingest.broker.hooks import message_encoder
from ingest.connection.outcome import (
    USER_FAULTS,
    checked_frames,
    handle_frame,
    heartbeat_frames,
    position_text,
    session_failed,
)
from ingest.connection.session import Emit, Fail, Outgoing, Session, To
from ingest.delivery.envelope import Envelope
from ingest.delivery.feed_intake import envelope_of
from ingest.errors import BootstrapFailed, EndReason, FrameHandlerFailed, PayloadRefused
from settings.model import FeedSettings
from settings.wire import new_producer


@dataclass(frozen=True, slots=True)
class SessionRun:
    """What a session did with its frames.

    ``emitted`` holds the payloads in order, `To` wrappers included; ``sent`` holds what would have been sent: the frames of
    ``on_upgrade``, then the replies. ``heartbeat`` is what the session would have sent after the last frame. ``ended`` is why it
    ended the connection, None if it did not; then ``read`` says how many frames it saw, the last being the one that ended it.
    ``acked`` holds the acks, in order, as they leave once every payload is safe; ``position`` is what a gap record after the last
    frame would say.
    """

    session: Session
    memory: dict[str, Any]
    emitted: tuple[Any, ...]
    sent: tuple[Outgoing, ...]
    heartbeat: tuple[Outgoing, ...]
    ready: bool
    ended: EndReason | None
    read: int
    acked: tuple[Outgoing, ...]
    position: Any

    @property
    def payloads(self) -> tuple[Any, ...]:
        """The emitted payloads without their destinations."""
        return tuple(item.payload if isinstance(item, To) else item for item in self.emitted)


def run_session(
    session_class: type[Session],
    frames: Iterable[str | bytes] = (),
    *,
    feed: FeedSettings | None = None,
    session_args: Mapping[str, Any] | None = None,
    memory: dict[str, Any] | None = None,
) -> SessionRun:
    """Run one connection's life of a session over ``frames`` and return what it did.

    A new session is made, as for every connection: `setup` (with ``session_args``, or the feed's), `on_upgrade`, then `on_frame`
    for each frame until the session ends the connection, then `heartbeat` once. `url` and `headers` are not called, because they
    may reach out; call them on ``run.session``. ``memory`` is the very dict that the session sees: pass it on to play a
    reconnect.
    """
    feed = feed if feed is not None else FeedSettings(name="test", url="ws://server.test/", actor="test")
    driver = _Driver(session_class, feed, memory if memory is not None else {})
    try:
        driver.bootstrap(feed.session_args if session_args is None else session_args)
        for frame in frames:
            driver.handle(frame)
        driver.heartbeat = heartbeat_frames(driver.session)
    except EndReason as reason:
        driver.ended = reason
    return driver.result()


class _Driver:
    """The run in progress."""

    def __init__(self, session_class: type[Session], feed: FeedSettings, memory: dict[str, Any]) -> None:
        self.session = session_class()
        self.session.feed = feed
        self.session.memory = memory
        self.emitted: list[Any] = []
        self.sent: list[Outgoing] = []
        self.heartbeat: tuple[Outgoing, ...] = ()
        self.ready = False
        self.ended: EndReason | None = None
        self.read = 0
        self.acked: list[Outgoing] = []
        self._position: str | None = None
        self._envelope = _envelope(feed)

    def bootstrap(self, session_args: Mapping[str, Any]) -> None:
        try:
            self.session.setup(**session_args)
            self.sent += checked_frames(self.session.on_upgrade(), "on_upgrade")
        except USER_FAULTS as error:
            raise BootstrapFailed(error, f"{type(error).__name__}: {error}") from error
        self.ready = not self.session.awaits_ready

    def handle(self, frame: str | bytes) -> None:
        self.read += 1
        outcome = handle_frame(self.session, frame)
        if isinstance(outcome, Fail):
            raise session_failed(outcome)
        if isinstance(outcome, Emit):
            self._emit(outcome.payloads)
            self.acked += outcome.ack
        self.sent += outcome.reply
        self.ready = self.ready or outcome.ready

    def _emit(self, payloads: Sequence[Any]) -> None:
        for payload in payloads:
            try:
                self._envelope.seal((payload,), 1, 0, [])
            except PayloadRefused as refused:
                raise FrameHandlerFailed(refused, str(refused)) from refused
            self.emitted.append(payload)
        if payloads:
            self._position = position_text(self.session) or self._position

    def result(self) -> SessionRun:
        return SessionRun(
            session=self.session,
            memory=self.session.memory,
            emitted=tuple(self.emitted),
            sent=tuple(self.sent),
            heartbeat=self.heartbeat,
            ready=self.ready,
            ended=self.ended,
            read=self.read,
            acked=tuple(self.acked),
            position=None if self._position is None else json.loads(self._position),
        )


def _envelope(feed: FeedSettings) -> Envelope:
    """Return what would write the feed's messages: a payload that it refuses ends the connection, as in production."""
    return envelope_of(feed, new_producer(), message_encoder(), To)
