"""Drive a session through frames without a socket, with the meaning that a real connection gives to its answers.

The rule: what a frame's result means is decided by `ingest.connection.outcome`, as in production; nothing here sleeps
or connects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ingest.connection.outcome import Outcome, checked_frames, handle_frame, heartbeat_frames, session_failed
from ingest.connection.session import Emit, Fail, Outgoing, Session, To
from ingest.errors import BootstrapFailed, EndReason, FrameHandlerFailed, PayloadRefused
from settings.model import FeedSettings


@dataclass(frozen=True, slots=True)
class SessionRun:
    """What a session did with its frames.

    ``emitted`` holds the payloads in order, `To` wrappers included; ``sent`` holds what would have been sent: the frames of
    ``on_upgrade``, then the replies. ``heartbeat`` is what the session would have sent after the last frame. ``ended`` is why it
    ended the connection, None if it did not; then ``read`` says how many frames it saw, the last being the one that ended it.
    """

    session: Session
    memory: dict[str, Any]
    emitted: tuple[Any, ...]
    sent: tuple[Outgoing, ...]
    heartbeat: tuple[Outgoing, ...]
    ready: bool
    ended: EndReason | None
    read: int

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
    driver = _Driver(session_class, memory if memory is not None else {})
    try:
        driver.bootstrap(feed, feed.session_args if session_args is None else session_args)
        for frame in frames:
            driver.handle(frame)
        driver.heartbeat = heartbeat_frames(driver.session)
    except EndReason as reason:
        driver.ended = reason
    return driver.result()


class _Driver:
    """The run in progress."""

    def __init__(self, session_class: type[Session], memory: dict[str, Any]) -> None:
        self.session = session_class()
        self.session.memory = memory
        self.memory = memory
        self.emitted: list[Any] = []
        self.sent: list[Outgoing] = []
        self.heartbeat: tuple[Outgoing, ...] = ()
        self.ready = False
        self.ended: EndReason | None = None
        self.read = 0

    def bootstrap(self, feed: FeedSettings, session_args: Mapping[str, Any]) -> None:
        self.session.feed = feed
        try:
            self.session.setup(**session_args)
            self.sent += checked_frames(self.session.on_upgrade(), "on_upgrade")
        except Exception as error:
            raise BootstrapFailed(error, f"{type(error).__name__}: {error}") from error
        self.ready = not self.session.awaits_ready

    def handle(self, frame: str | bytes) -> None:
        self.read += 1
        self._apply(handle_frame(self.session, frame))

    def _apply(self, outcome: Outcome) -> None:
        if isinstance(outcome, Fail):
            raise session_failed(outcome)
        self.sent += outcome.reply
        if isinstance(outcome, Emit):
            for payload in outcome.payloads:
                _check_encodable(payload)
                self.emitted.append(payload)
        self.ready = self.ready or outcome.ready

    def result(self) -> SessionRun:
        return SessionRun(
            self.session, self.memory, tuple(self.emitted), tuple(self.sent), self.heartbeat, self.ready, self.ended, self.read
        )


def _check_encodable(payload: Any) -> None:
    value = payload.payload if isinstance(payload, To) else payload
    if isinstance(value, (str, bytes)):
        return
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        refused = PayloadRefused(type(value).__name__, str(error))
        raise FrameHandlerFailed(refused, str(refused)) from error
