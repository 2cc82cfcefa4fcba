"""How a connection is closed, by the reason for which it ends.

The rule: says what RFC 6455 (7.1, 7.4) wants said for each reason, and never hangs on a dead socket.
"""

from __future__ import annotations

from typing import Protocol

from ingest.errors import (
    ClosedByServer,
    ConnectionDropped,
    EndReason,
    Fenced,
    Paused,
    ProtocolViolated,
    SendTimedOut,
    SessionFailed,
    Stopped,
)

#: How long, in seconds, the server has to answer our close before we cut.
CLOSE_TIMEOUT = 1.0


class Closable(Protocol):
    """The part of a transport that is needed to leave."""

    def close(self, code: int, reason: str, timeout: float) -> object: ...
    def abort(self) -> None: ...


def say_farewell(transport: Closable, reason: EndReason) -> None:
    """Close the connection as befits the reason."""
    if isinstance(reason, ConnectionDropped | SendTimedOut):
        transport.abort()
    elif isinstance(reason, ClosedByServer):
        transport.close(1000 if reason.code == 1005 else reason.code, "", 0.0)
    elif isinstance(reason, ProtocolViolated):
        transport.close(reason.code, reason.detail[:100], CLOSE_TIMEOUT)
    elif isinstance(reason, Stopped | Fenced | Paused):
        transport.close(1001, "", CLOSE_TIMEOUT)
    elif isinstance(reason, SessionFailed):
        transport.close(1000, "", CLOSE_TIMEOUT)
    elif reason.setting is not None:
        transport.close(1011, reason.setting, 0.0)  # the peer is silent: say it, and do not wait
    else:
        transport.close(1011, "", CLOSE_TIMEOUT)
