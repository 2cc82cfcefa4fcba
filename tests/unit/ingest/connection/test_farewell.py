"""Every reason closes with its own code, and waits only for a server that may answer."""

import pytest

from ingest.connection.farewell import CLOSE_TIMEOUT, say_farewell
from ingest.errors import (
    ClosedByServer,
    ConnectionDropped,
    FrameHandlerFailed,
    IdleTimedOut,
    ProtocolViolated,
    SendTimedOut,
    SessionFailed,
    Stopped,
)


class Transport:
    def __init__(self):
        self.said = []

    def close(self, code, reason, timeout):
        self.said.append((code, reason, timeout))

    def abort(self):
        self.said.append("abort")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (ConnectionDropped("x"), "abort"),
        (SendTimedOut(1.0), "abort"),
        (ClosedByServer(4001, "bye"), (4001, "", 0.0)),
        (ClosedByServer(1005), (1000, "", 0.0)),
        (ProtocolViolated(1007, "invalid UTF-8"), (1007, "invalid UTF-8", CLOSE_TIMEOUT)),
        (Stopped(), (1001, "", CLOSE_TIMEOUT)),
        (SessionFailed("x"), (1000, "", CLOSE_TIMEOUT)),
        (IdleTimedOut(3.0), (1011, "idle_timeout", 0.0)),
        (FrameHandlerFailed(None, "x"), (1011, "", CLOSE_TIMEOUT)),
    ],
)
def test_a_reason_is_said(reason, said):
    transport = Transport()
    say_farewell(transport, reason)
    assert transport.said == [said]
