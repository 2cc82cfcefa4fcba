"""One client of a scripted server as a protocol: its request, its messages, and the answers that RFC 6455 owes it.

The rule: the protocol is the ``websockets`` library's, so that clients are tested against somebody else's reading of the RFC;
a client that breaks it is an `AssertionError`.
"""

from __future__ import annotations

import http
from collections import deque
from collections.abc import Callable, Mapping

try:
    from websockets.datastructures import Headers
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
    from websockets.frames import Frame, Opcode
    from websockets.http11 import Request, Response
    from websockets.protocol import State
    from websockets.server import ServerProtocol
except ImportError as error:  # the one dependency of ingest.testing that production does not have
    raise ImportError("ingest.testing needs the package websockets: pip install 'dramatiq-websocket[embedded]'") from error

from ingest.clock import Deadline
from ingest.testing.recording import FrameKind, ReceivedFrame, Recording
from ingest.testing.stream import Stream

_CONTROL_KINDS: dict[Opcode, FrameKind] = {Opcode.PING: "ping", Opcode.PONG: "pong", Opcode.CLOSE: "close"}
_LEFT_WITHOUT_CLOSE = 1006


class Link:
    """The stream of a client and what was understood of it."""

    def __init__(self, stream: Stream, recording: Recording, changed: Callable[[], None]) -> None:
        self.stream = stream
        self.recording = recording
        self.protocol = ServerProtocol(max_size=None)
        self.request: Request | None = None
        #: What came and was not asked for yet: messages and control frames, in order.
        self.inbox: deque[ReceivedFrame] = deque()
        #: True: pings and the client's close are read, but not answered.
        self.muted = False
        self._changed = changed
        self._fragments: list[Frame] = []

    @property
    def is_open(self) -> bool:
        return self.protocol.state is State.OPEN

    def pump(self, deadline: Deadline, *, patient: bool = False) -> bool:
        """Read once and answer what must be answered; False if nothing came by the deadline, or nothing can come any more."""
        if self.recording.left:
            return False
        data = self.stream.receive(deadline, patient=patient)
        if data is None:
            return False
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        self._understand()
        answers = self.protocol.data_to_send()
        if not self.muted:
            self.stream.send(b"".join(answers))
        if not data and not self.recording.left:
            self.recording.close_code = _LEFT_WITHOUT_CLOSE
        self._changed()
        return True

    def flush(self) -> bool:
        """Send what the protocol has ready; False if the client is gone."""
        return self.stream.send(b"".join(self.protocol.data_to_send()))

    def upgrade_response(self, headers: Mapping[str, str], subprotocol: str | None, compression: bool) -> bytes:
        """Take the upgrade and return the bytes of our 101; ``headers`` add to ours or replace them."""
        assert self.request is not None
        if compression:
            self.protocol.available_extensions = [ServerPerMessageDeflateFactory()]
        response = self.protocol.accept(self.request)
        if response.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS:
            raise AssertionError(f"the client's upgrade request is invalid: {bytes(response.body).decode().strip()}")
        if subprotocol is not None:
            response.headers["Sec-WebSocket-Protocol"] = subprotocol
        _overlay(response.headers, headers)
        self.protocol.send_response(response)
        return b"".join(self.protocol.data_to_send())

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return the bytes of an answer to the upgrade with another status than 101."""
        ours = Headers({"Content-Length": str(len(body)), "Connection": "close"})
        _overlay(ours, headers)
        return Response(status, http.HTTPStatus(status).phrase, ours, body).serialize()

    def _understand(self) -> None:
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self._take_request(event)
            elif isinstance(event, Frame):
                self._take_frame(event)
        broken = self.protocol.parser_exc or self.protocol.handshake_exc
        if broken is not None and not _is_end_of_stream(broken):
            raise AssertionError(f"the client broke the protocol: {broken}")

    def _take_request(self, request: Request) -> None:
        self.request = request
        self.recording.path = request.path
        self.recording.headers = {name.lower(): ", ".join(request.headers.get_all(name)) for name in request.headers}

    def _take_frame(self, frame: Frame) -> None:
        kind = _CONTROL_KINDS.get(frame.opcode)
        if kind is None:
            self._fragments.append(frame)
            if frame.fin:
                self._record(_message(self._fragments))
                self._fragments = []
            return
        self._record(ReceivedFrame(kind, bytes(frame.data)))
        if kind == "close":
            close = self.protocol.close_rcvd
            assert close is not None
            self.recording.close_reason = close.reason
            self.recording.close_code = close.code

    def _record(self, frame: ReceivedFrame) -> None:
        self.recording.frames.append(frame)
        self.inbox.append(frame)


def _overlay(headers: Headers, others: Mapping[str, str]) -> None:
    for name, value in others.items():
        if name in headers:
            del headers[name]
        headers[name] = value


def _message(fragments: list[Frame]) -> ReceivedFrame:
    data = b"".join(bytes(fragment.data) for fragment in fragments)
    if fragments[0].opcode is Opcode.BINARY:
        return ReceivedFrame("binary", data)
    try:
        return ReceivedFrame("text", data.decode())
    except UnicodeDecodeError as error:
        raise AssertionError(f"the client sent a text that is not UTF-8: {error}") from None


def _is_end_of_stream(error: BaseException) -> bool:
    return isinstance(error, EOFError) or isinstance(error.__cause__, EOFError)
