"""What clients did to a scripted server, for a test's assertions.

The rule: only the connection's own thread writes a recording; every reader sees whole values, in order.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

FrameKind = Literal["text", "binary", "ping", "pong", "close"]


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """One message or control frame from the client; ``at`` is monotonic seconds, fragments come as one message.

    ``payload`` is ``str`` for a text, ``bytes`` for the others (of a close: code and reason as they were sent).
    """

    kind: FrameKind
    payload: str | bytes
    at: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Recording:
    """One connection as the server saw it.

    ``path`` and ``headers`` (names in lower case) are of the upgrade request, empty before it came. ``close_code`` is the
    client's: 1005 where its close frame had none, 1006 where it left without, None while it is there.
    """

    number: int
    opened_at: float = field(default_factory=time.monotonic)
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    frames: list[ReceivedFrame] = field(default_factory=list)
    close_code: int | None = None
    close_reason: str = ""
    handshake_error: str | None = None

    @property
    def messages(self) -> list[str | bytes]:
        """The data messages, without control frames."""
        return [frame.payload for frame in list(self.frames) if frame.kind in ("text", "binary")]

    @property
    def texts(self) -> list[str]:
        """The text messages alone."""
        return [message for message in self.messages if isinstance(message, str)]

    @property
    def left(self) -> bool:
        """True once the client has closed, or is gone."""
        return self.close_code is not None
