"""The user's callbacks, called with care: whatever they raise or return becomes a typed reason.

The rule: no other module of the running system calls a session's methods; no failure of theirs goes untold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ingest.connection.calls import Call, call_of
from ingest.connection.outcome import USER_FAULTS, checked_frames, handle_frame, heartbeat_frames, position_text
from ingest.connection.session import Emit, Fail, Outgoing, Session, Skip
from ingest.connection.status import FeedStatus
from ingest.errors import BootstrapFailed, EndReason, FrameHandlerFailed, HeadersFailed, UrlFailed
from ingest.events import HandlerFailed
from settings.model import FeedSettings

T = TypeVar("T")

#: So much of a frame goes with the event of its failure.
FRAME_SHOWN = 4000


@dataclass(frozen=True, slots=True)
class SessionMaker:
    """Makes the session of every attempt: the feed's class, its two functions, and the memory that survives."""

    feed: FeedSettings
    session_class: type[Session] = Session
    headers_function: Callable[[], Mapping[str, str]] | None = None
    subscribe_function: Callable[[], Sequence[Outgoing]] | None = None
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def refreshes_credentials(self) -> bool:
        """Whether another attempt may show other credentials, so that 401 and 403 need not be final."""
        chosen = self.session_class
        return self.headers_function is not None or chosen.headers is not Session.headers or chosen.url is not Session.url

    @property
    def passes_through(self) -> bool:
        """Whether every data frame is emitted as it came."""
        return self.session_class.on_frame is Session.on_frame

    @property
    def tells_position(self) -> bool:
        """Whether there is a position to ask for."""
        return self.session_class.position is not Session.position

    def make(self) -> Session:
        session = self.session_class()
        session.feed = self.feed
        session.memory = self.memory
        return session


class Callbacks:
    """One attempt's session behind typed failures."""

    def __init__(self, maker: SessionMaker, status: FeedStatus) -> None:
        self._maker = maker
        self._status = status
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The session of this attempt; only after `prepare`."""
        if self._session is None:
            raise RuntimeError("prepare() comes first")
        return self._session

    def prepare(self) -> tuple[str, Mapping[str, str]]:
        """Make the session and ask it for URL and headers; `BootstrapFailed`, `UrlFailed` or `HeadersFailed`."""
        self._session = self._call("setup", BootstrapFailed, self._set_up)
        url = self._call("url", UrlFailed, self._session.url)
        if not isinstance(url, str) or not url.startswith(("ws://", "wss://")):
            raise UrlFailed(None, f"it returned {_kind(url)}; a ws:// or wss:// URL is expected")
        headers = self._call("headers", HeadersFailed, self._headers)
        if not isinstance(headers, Mapping) or not all(isinstance(x, str) for pair in headers.items() for x in pair):
            raise HeadersFailed(None, f"it returned {_kind(headers)}; a mapping of str to str is expected")
        return url, headers

    def bootstrap(self) -> Sequence[Outgoing]:
        """Return the frames to send after the upgrade; `BootstrapFailed`."""
        return self._call("on_upgrade", BootstrapFailed, self._bootstrap_frames)

    def heartbeat(self) -> Sequence[Outgoing]:
        """Return the frames of one heartbeat; `FrameHandlerFailed`."""
        with self._status.calling("heartbeat"):
            try:
                return heartbeat_frames(self.session)
            except FrameHandlerFailed as failure:
                self._tell("heartbeat", failure.cause or failure)
                raise

    def on_frame(self, payload: str | bytes) -> Emit | Skip | Fail:
        """Return what becomes of one message; `FrameHandlerFailed`."""
        status = self._status
        status.running = call_of(("on_frame", status.clock()))  # not `calling`: this is done for every frame
        try:
            return handle_frame(self.session, payload)
        except FrameHandlerFailed as failure:
            self._tell("on_frame", failure.cause or failure, payload[:FRAME_SHOWN])
            raise
        finally:
            status.running = None

    def position(self) -> None:
        """Note where the stream is now; `FrameHandlerFailed`."""
        status = self._status
        status.running = Call("position", status.clock())
        try:
            text = position_text(self.session)
        except FrameHandlerFailed as failure:
            self._tell("position", failure.cause or failure)
            raise
        finally:
            status.running = None
        if text is not None:
            status.position_text = text

    def _tell(self, where: str, cause: BaseException, frame: str | bytes | None = None) -> None:
        self._status.publish(HandlerFailed(telemetry_id=self._status.label, where=where, cause=cause, frame=frame))

    def _set_up(self) -> Session:
        session = self._maker.make()
        session.setup(**self._maker.feed.session_args)
        return session

    def _headers(self) -> Mapping[str, str]:
        function = self._maker.headers_function
        return dict(function()) if function is not None else self.session.headers()

    def _bootstrap_frames(self) -> Sequence[Outgoing]:
        function = self._maker.subscribe_function
        name = "on_upgrade" if function is None else "subscribe_function"
        return checked_frames(function() if function is not None else self.session.on_upgrade(), name)

    def _call(self, where: str, failure: Callable[[BaseException, str], EndReason], function: Callable[[], T]) -> T:
        try:
            with self._status.calling(where):
                return function()
        except USER_FAULTS as error:
            self._tell(where, error)
            raise failure(error, f"{type(error).__name__}: {error}") from error


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
